#!/bin/sh
# Runs the sink as the owner of the output folder, so that the user can read and delete its files.
set -eu

if [ "$(id -u)" -ne 0 ]; then # started with an explicit user
    exec "$@"
fi

output=${SINK_OUTPUT_PATH:-output/metrics.json}
folder=$(dirname "$output")
uid=$(stat -c %u "$folder")
gid=$(stat -c %g "$folder")
if [ "$uid" -eq 0 ]; then
    # root may delete anything in its folder; the service has access by its group.
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
# Files of an earlier run may have another owner: of local mode as root, or of this container with a folder of root's.
database=${SINK_DATABASE_URL:-sqlite:///output/metrics.db}
database=${database#sqlite:///} # of another kind: a path that does not exist
for file in "$output"* "${output%.*}"-*Z--*Z* "$database" "$database"-wal "$database"-shm "$database"-journal; do
    # Files with the right owner are skipped: a file system that maps root to nobody (NFS) would reject even those changes.
    if [ -e "$file" ] && [ "$(stat -c %u:%g "$file")" != "$uid:$gid" ]; then
        chown -h "$uid:$gid" "$file"
    fi
done
exec setpriv --reuid="$uid" --regid="$gid" --clear-groups --no-new-privs "$@"
