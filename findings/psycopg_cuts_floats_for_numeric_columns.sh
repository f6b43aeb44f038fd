#!/bin/sh
# psycopg 3.3.9 with PostgreSQL 15.18, a Python float as the parameter of a numeric column.
#
# What one would expect: numeric holds every digit of the float's repr, as it does when the float is written by COPY or by
# psycopg.ClientCursor, which puts it into the statement's text.
# What happens: the float goes to the server as float8, and the server's own cast from float8 to numeric keeps 15 significant
# digits. A time in seconds loses its single microseconds, an amount with 14 places before the point the last digit of its
# cents, and neither is found again by the float that was written. There is no error.
# Seen: 1795363680.123456 as a parameter: 1795363680.12346 found again: 0 in the statement's text: 1795363680.123456
#       12345678901234.56 as a parameter: 12345678901234.6 found again: 0 in the statement's text: 12345678901234.56
# What to do: Decimal(repr(value)) as the parameter, or a column of double precision.
set -eu
bin=$(dirname "$(command -v initdb || ls /usr/lib/postgresql/*/bin/initdb 2>/dev/null | tail -n 1)")
[ -x "$bin/initdb" ] || { echo "no PostgreSQL server is installed: on Debian it is the package postgresql" >&2 && exit 1; }
as=
if [ "$(id -u)" = 0 ]; then as="setpriv --reuid=65534 --regid=65534 --clear-groups"; fi # PostgreSQL refuses to run as root
folder=$(mktemp -d)
stop() {
    $as "$bin/pg_ctl" -D "$folder/server/data" -m immediate stop >/dev/null 2>&1 || true
    rm -rf "$folder"
}
trap stop EXIT
chmod 711 "$folder"
mkdir -m 777 "$folder/server"
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check 'psycopg[binary]==3.3.9'
cd "$folder/server"
$as "$bin/initdb" -D "$folder/server/data" -A trust -U finder >/dev/null
$as "$bin/pg_ctl" -D "$folder/server/data" -l "$folder/server/log" -w \
    -o "-c listen_addresses='' -k $folder/server" start >/dev/null
"$folder/venv/bin/python" - "$folder/server" <<'PYTHON'
import sys
from decimal import Decimal

import psycopg

with psycopg.connect(host=sys.argv[1], user="finder", dbname="postgres", autocommit=True) as connection:
    for value, stated in [(1795363680.123456, "1795363680.12346"), (12345678901234.56, "12345678901234.6")]:
        connection.execute("drop table if exists payment")
        connection.execute("create table payment (value numeric)")
        parameter = connection.execute("insert into payment values (%s) returning value", [value]).fetchone()[0]
        again = connection.execute("select count(*) from payment where value = %s", [value]).fetchone()[0]
        text = psycopg.ClientCursor(connection).execute("insert into payment values (%s) returning value", [value])
        text = text.fetchone()[0]
        with connection.cursor() as cursor, cursor.copy("copy payment from stdin") as copy:
            copy.write_row([value])
        exact = connection.execute("select count(*) from payment where value = %s", [Decimal(repr(value))]).fetchone()[0]
        print(value, "as a parameter:", parameter, "found again:", again, "in the statement's text:", text)
        assert (str(parameter), again) == (stated, 0), "changed: a parameter keeps other digits"
        assert (str(text), exact) == (repr(value), 2), "changed: the statement's text or COPY is not exact"
print("as stated: a float has lost digits on its way into a numeric column")
PYTHON
