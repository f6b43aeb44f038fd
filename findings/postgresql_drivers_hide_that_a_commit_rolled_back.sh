#!/bin/sh
# psycopg 3.3.9 and asyncpg 0.32.0 with PostgreSQL 15.18, an error that is caught inside a transaction.
#
# What one would expect: commit(), or the end of a transaction's block, raises if the transaction can no longer be committed.
# What happens: PostgreSQL answers COMMIT with ROLLBACK, which is no error, and neither driver compares the answer with what it
# asked for. The block ends normally, and all that was written before the caught error is gone.
# Seen: psycopg commit(): no error, rows: 0
#       psycopg transaction(): no error, rows: 0
#       asyncpg transaction(): no error, rows: 0
#       psycopg inner transaction(): no error, rows: 1
# What to do: put the statement that may fail into an inner transaction(), which is a savepoint, or catch the error outside.
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
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check 'psycopg[binary]==3.3.9' asyncpg==0.32.0
cd "$folder/server"
$as "$bin/initdb" -D "$folder/server/data" -A trust -U finder >/dev/null
$as "$bin/pg_ctl" -D "$folder/server/data" -l "$folder/server/log" -w \
    -o "-c listen_addresses='' -k $folder/server" start >/dev/null
"$folder/venv/bin/python" - "$folder/server" <<'PYTHON'
import asyncio
import sys
from contextlib import nullcontext, suppress

import asyncpg
import psycopg

place = {"host": sys.argv[1], "user": "finder"}
insert = "insert into payment values (1)"
rows = []


def insert_twice(around_the_second=nullcontext):
    connection.execute(insert)
    with suppress(psycopg.errors.UniqueViolation), around_the_second():
        connection.execute(insert)


async def insert_twice_by_asyncpg():
    connection = await asyncpg.connect(database="postgres", **place)
    async with connection.transaction():
        await connection.execute(insert)
        with suppress(asyncpg.UniqueViolationError):
            await connection.execute(insert)
    await connection.close()


def count(how):
    rows.append(connection.execute("select count(*) from payment").fetchone()[0])
    print(f"{how}: no error, rows: {rows[-1]}")
    connection.execute("truncate payment")
    connection.commit()


with psycopg.connect(dbname="postgres", **place) as connection:
    connection.execute("create table payment (id int primary key)")
    connection.commit()
    insert_twice()
    connection.commit()
    count("psycopg commit()")
    with connection.transaction():
        insert_twice()
    count("psycopg transaction()")
    asyncio.run(insert_twice_by_asyncpg())
    count("asyncpg transaction()")
    with connection.transaction():
        insert_twice(around_the_second=connection.transaction)
    count("psycopg inner transaction()")
assert rows == [0, 0, 0, 1], "changed: the first row is kept, or an inner transaction() does not help"
print("as stated: three commits without an error, and nothing is committed")
PYTHON
