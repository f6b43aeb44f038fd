#!/bin/sh
# Runs the command `pipeline` as the owner of the output folder, so that it can read the sink's files.
set -eu

if [ "$(id -u)" -ne 0 ]; then # started with an explicit user
    exec python -m cli "$@"
fi

uid=$(stat -c %u output 2>/dev/null || echo 0)
gid=$(stat -c %g output 2>/dev/null || echo 0)
# If root owns the folder, the sink runs as 10001 (services/sink/entrypoint.sh).
[ "$uid" -ne 0 ] || uid=10001
[ "$gid" -ne 0 ] || gid=10001
exec setpriv --reuid="$uid" --regid="$gid" --clear-groups --no-new-privs python -m cli "$@"
