#!/bin/sh
# SQLite 3.54.1 (with apsw 3.54.1.0), datetime, strftime and date of a time in seconds with a fraction.
#
# What one would expect: a format without fractions cuts them off, as it does with 59.9, so an order of the last half millisecond of a
# minute, an hour or a day is counted there.
# What happens: a time is rounded to a millisecond first, and cut off afterwards. From 59.9995 on it is the next minute, and at
# midnight the next day. Sums by minute differ from those of windows that are computed from the number itself, by one order in
# 120,000, if timestamps have microseconds; if they have milliseconds, as in tests, never.
# Seen, for 600,000 orders in a minute, one every 100 microseconds:
#       strftime('%H:%M', time, 'unixepoch'): 10:00 599995, 10:01 5
#       time / 60: 600000
#       date(1795823999.9996, 'unixepoch'): 2026-11-28, of 1795823999.9994: 2026-11-27
# What to do: cut the number first: strftime('%H:%M', cast(time as int), 'unixepoch').
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check apsw==3.54.1.0
cd "$folder"
venv/bin/python - <<'PYTHON'
import apsw

connection = apsw.Connection("")
connection.execute("create table orders (time real)")
minute = 1795773600  # 2026-11-27T10:00:00Z
connection.executemany("insert into orders values (?)", ((minute + n / 10_000,) for n in range(600_000)))


def orders_by(expression):
    query = f"select {expression}, count(*) from orders group by 1 order by 1"
    return dict(connection.execute(query))


def date(time):
    return connection.execute("select date(?, 'unixepoch')", (time,)).fetchone()[0]


formatted = orders_by("strftime('%H:%M', time, 'unixepoch')")
computed = orders_by("cast(time / 60 as int)")
cut = orders_by("strftime('%H:%M', cast(time as int), 'unixepoch')")
days = [date(1795823999 + fraction) for fraction in (0.9, 0.9994, 0.9996)]
print("SQLite", apsw.sqlite_lib_version())
print("strftime:", formatted)
print("computed:", computed)
print("days of the seconds 1795823999.9, .9994 and .9996:", *days)
assert formatted == {"10:00": 599_995, "10:01": 5}, "changed: the orders are in their minute"
assert days == ["2026-11-27", "2026-11-27", "2026-11-28"], "changed: the days are right"
assert computed == {minute // 60: 600_000}, "changed: the number cannot be divided"
assert cut == {"10:00": 600_000}, "changed: cutting the number does not help"
print("as stated: 5 of 600,000 orders are counted in the next minute")
PYTHON
