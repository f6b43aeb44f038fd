#!/bin/sh
# Runs the sink as the owner of the output folder, so that who started it can read and delete what it writes.
set -eu

if [ "$(id -u)" -ne 0 ]; then # started with a user of the caller's choice
    exec "$@"
fi

output=${SINK_OUTPUT_PATH:-output/metrics.json}
folder=$(dirname "$output")
uid=$(stat -c %u "$folder")
gid=$(stat -c %g "$folder")
if [ "$uid" -eq 0 ]; then
    # root may delete anything in its folder; the service gets in by group.
    uid=10001
    if [ "$gid" -eq 0 ]; then
        gid=10001
        chgrp "$gid" "$folder"
    fi
    chmod g+rwx "$folder"
fi
# An earlier run may have been somebody else's: local mode as root, or this container when the folder was root's.
for file in "$output"*; do
    if [ -e "$file" ]; then
        chown -h "$uid:$gid" "$file"
    fi
done
exec setpriv --reuid="$uid" --regid="$gid" --clear-groups --no-new-privs "$@"
