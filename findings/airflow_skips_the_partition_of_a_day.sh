#!/bin/sh
# Airflow 3.3.2, CronPartitionTimetable with run_offset=-1 in a time zone that sets its clocks forward.
#
# What one would expect: a schedule of a run a day, for the partition of the day before, has each day once.
# What happens: the partition is the time of the run, moved back by one of the cron expression's times. Where the clocks skip that
# time, as they skip 02:00 in March, the run is an hour later, and the time before it is the skipped one of the same day. That run is
# of its own day, which has hardly begun, instead of the day before. The day before has no run at all, and its own day a second one on
# the next morning. No run fails. A backfill has each day once.
# Seen, for Europe/Berlin in 2026, where clocks are set forward on 29 March:
#       0 2 * * *: run of 27 March at 2026-03-28T02:00:00+01:00
#                  run of 29 March at 2026-03-29T03:00:00+02:00
#                  run of 29 March at 2026-03-30T02:00:00+02:00
#       0 4 * * *: 27 March, 28 March, 29 March
# What to do: timezone="UTC", or a time that no clock skips.
# Also reported, of runs by hand in other timetables: https://github.com/apache/airflow/pull/70089
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check apache-airflow-core==3.3.2 \
    apache-airflow-task-sdk==1.3.2 cadwyn==7.0.0 fastapi==0.136.3 pendulum==3.3.0 pydantic==2.14.4 sqlalchemy==2.1.9 \
    starlette==1.10.0 structlog==26.1.0
cd "$folder"
export AIRFLOW_HOME="$folder" AIRFLOW__CORE__LOAD_EXAMPLES=False
cat >days.py <<'PYTHON'
import pendulum
from airflow.timetables.base import TimeRestriction
from airflow.timetables.trigger import CronPartitionTimetable

first, last = pendulum.datetime(2026, 3, 27, 12), pendulum.datetime(2026, 3, 31, 12)


def scheduled(cron, timezone):
    """What the scheduler asks for, run after run: the time of each run, and its partition."""
    timetable = CronPartitionTimetable(cron, timezone=timezone, run_offset=-1, key_format="%Y-%m-%d")
    restriction = TimeRestriction(earliest=first, latest=last, catchup=True)
    run, runs = None, {}
    while run := timetable.next_dagrun_info_v2(last_dagrun_info=run, restriction=restriction):
        runs[run.run_after.in_timezone(timezone).isoformat()] = run.partition_key
    return runs


def backfilled(cron, timezone):
    timetable = CronPartitionTimetable(cron, timezone=timezone, run_offset=-1, key_format="%Y-%m-%d")
    return [run.partition_key for run in timetable.iter_partition_dagrun_infos(earliest=first, latest=last)]


expected = ["2026-03-27", "2026-03-28", "2026-03-29", "2026-03-30"]
skipped = ["2026-03-27", "2026-03-29", "2026-03-29", "2026-03-30"]
for timezone, cron, stated in (
    ("Europe/Berlin", "0 2 * * *", skipped),
    ("America/New_York", "0 2 * * *", expected),  # where clocks are set forward on another day
    ("Europe/Berlin", "0 4 * * *", expected),
    ("UTC", "0 2 * * *", expected),
):
    runs = scheduled(cron, timezone)
    print(f"{cron} in {timezone}:")
    for time, partition in runs.items():
        print(f"  run of {partition} at {time}")
    assert list(runs.values()) == stated, f"changed: the partitions are {list(runs.values())}"
print("backfill of 0 2 * * * in Europe/Berlin:", *backfilled("0 2 * * *", "Europe/Berlin"))
assert "2026-03-28" in backfilled("0 2 * * *", "Europe/Berlin"), "changed: the backfill lacks the day, too"
print("as stated: 28 March has no run, and 29 March has two")
PYTHON
venv/bin/python days.py >run.log 2>run.err || { tail -n 20 run.log run.err; exit 1; }
grep -v ' partition date' run.log
