#!/bin/sh
# DuckDB 2.0.1, date_trunc('hour', …) of a TIMESTAMPTZ in a time zone that sets its clocks back.
#
# What one would expect: a TIMESTAMPTZ is a point in time, so the two hours that the clocks show alike are two hours, and no time is
# truncated to a later one. So it is in PostgreSQL, and here for date_trunc('minute', …) and for time_bucket.
# What happens: every time in the first of the two hours is truncated to the start of the second one, which is later than the time
# itself. Revenue by hour has no first hour, and the second one has the revenue of both. The day's total is right.
# Seen, for 2026-10-25 in Europe/Berlin, where clocks are set back at 01:00 UTC, revenue by hour in UTC:
#       date_trunc: 23h 5, 1h 150, 2h 160
#       time_bucket: 23h 5, 0h 30, 1h 120, 2h 160
# What to do: time_bucket(INTERVAL 1 HOUR, …), or SET TimeZone = 'UTC'.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check duckdb==2.0.1
cd "$folder"
venv/bin/python - <<'PYTHON'
import duckdb

connection = duckdb.connect()
connection.execute("set TimeZone = 'Europe/Berlin'")
connection.execute(
    """
    create table orders as select time::timestamptz as time, amount from (values
        ('2026-10-24 23:50:00+00', 5),
        ('2026-10-25 00:10:00+00', 10), ('2026-10-25 00:40:00+00', 20),
        ('2026-10-25 01:10:00+00', 40), ('2026-10-25 01:40:00+00', 80),
        ('2026-10-25 02:10:00+00', 160)) as sent (time, amount)
    """
)


def revenue(hour):
    """Revenue by hour of UTC: epoch() takes the time as it is, without a time zone."""
    query = f"select (epoch({hour})::bigint // 3600) % 24, sum(amount) from orders group by {hour} order by {hour}"
    return [(int(at), int(total)) for at, total in connection.execute(query).fetchall()]


def text(hours):
    return ", ".join(f"{at}h {total}" for at, total in hours)


truncated = revenue("date_trunc('hour', time)")
bucketed = revenue("time_bucket(interval 1 hour, time)")
print("date_trunc:", text(truncated))
print("time_bucket:", text(bucketed))
later = connection.execute("select count(*) from orders where date_trunc('hour', time) > time").fetchone()
print("truncated to a later time:", later[0])
minutes = connection.execute("select count(distinct date_trunc('minute', time)) from orders").fetchone()
assert truncated == [(23, 5), (1, 150), (2, 160)], "changed: date_trunc keeps the two hours apart"
assert later == (2,), "changed: date_trunc gives no later time"
assert minutes == (6,), "changed: minutes are merged, too"
assert bucketed == [(23, 5), (0, 30), (1, 120), (2, 160)], "changed: time_bucket does not help"
connection.execute("set TimeZone = 'UTC'")
assert revenue("date_trunc('hour', time)") == bucketed, "changed: the time zone UTC does not help"
print("as stated: the first of the two hours is counted as the second one")
PYTHON
