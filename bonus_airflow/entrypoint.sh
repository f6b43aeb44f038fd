#!/bin/sh
# Runs Airflow as the owner of the output folder, so that it can read the sink's files and add its reports.
set -eu

uid=$(stat -c %u output)
gid=$(stat -c %g output)
# If root owns the folder, the sink runs as 10001 (services/sink/entrypoint.sh).
[ "$uid" -ne 0 ] || uid=10001
[ "$gid" -ne 0 ] || gid=10001
[ "$(stat -c %u:%g "$AIRFLOW_HOME")" = "$uid:$gid" ] || chown -R "$uid:$gid" "$AIRFLOW_HOME"
exec setpriv --reuid="$uid" --regid="$gid" --clear-groups --no-new-privs python -m bonus_airflow.start
