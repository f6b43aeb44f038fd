#!/bin/sh
# Runs the command `pipeline` as the owner of the output folder, so that it can read what the sink has written there.
set -eu

if [ "$(id -u)" -ne 0 ]; then # started with a user of the caller's choice
    exec python -m cli "$@"
fi

uid=$(stat -c %u output 2>/dev/null || echo 0)
gid=$(stat -c %g output 2>/dev/null || echo 0)
# In a folder of root's the sink runs as 10001 (services/sink/entrypoint.sh).
[ "$uid" -ne 0 ] || uid=10001
[ "$gid" -ne 0 ] || gid=10001
exec setpriv --reuid="$uid" --regid="$gid" --clear-groups --no-new-privs python -m cli "$@"
