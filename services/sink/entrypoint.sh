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
    case $(stat -c %A "$folder") in
        ????rwx*) ;;
        *) chmod g+rwx "$folder" ;;
    esac
fi
# An earlier run may have been somebody else's: local mode as root, or this container when the folder was root's.
for file in "$output"* "${output%.*}"-*Z--*Z*; do
    # What has the right owner is left alone: a file system that maps root to nobody (NFS) would refuse even that.
    if [ -e "$file" ] && [ "$(stat -c %u:%g "$file")" != "$uid:$gid" ]; then
        chown -h "$uid:$gid" "$file"
    fi
done
exec setpriv --reuid="$uid" --regid="$gid" --clear-groups --no-new-privs "$@"
