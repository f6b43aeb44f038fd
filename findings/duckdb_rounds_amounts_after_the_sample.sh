#!/bin/sh
# DuckDB 2.0.1, read_json on newline-delimited JSON without a given schema.
#
# What one would expect: a column of amounts keeps its cents, or reading fails.
# What happens: types are guessed from the first 20,480 rows. If those amounts are all whole numbers, the column becomes BIGINT, and
# later amounts are rounded to whole numbers without a word. A sum is then wrong by up to half a unit a row.
# Seen: guessed: ('BIGINT', 10) named: (Decimal('10.40'),)
# What to do: name the type, columns={'amount': 'DECIMAL(18,2)'}, or sample_size=-1.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check duckdb==2.0.1
cd "$folder"
venv/bin/python - <<'PYTHON'
import duckdb

with open("amounts.ndjson", "w") as file:
    file.writelines('{"amount": 10}\n' for _ in range(20_480))
    file.writelines('{"amount": 10.4}\n' for _ in range(5))

guessed = duckdb.sql("SELECT typeof(any_value(amount)), max(amount) FROM read_json('amounts.ndjson')").fetchall()[0]
named = duckdb.sql(
    "SELECT max(amount) FROM read_json('amounts.ndjson', columns={'amount': 'DECIMAL(18,2)'})"
).fetchall()[0]
print("guessed:", guessed, "named:", named)
assert guessed == ("BIGINT", 10), "changed: the guess is another"
assert str(named[0]) == "10.40", "changed: a named type does not help"
print("as stated: 10.4 was read as 10")
PYTHON
