#!/bin/sh
# DuckDB 2.0.1, the Python package, a query of more than two seconds with standard output in a file.
#
# What one would expect: a progress bar is drawn on a terminal only, or on standard error. So a program prints the same into a file,
# however long its queries take, and however Python is given the program.
# What happens: code from `python -c` counts as an interactive session, whether or not there is a terminal. Its progress bar is on, and
# goes to standard output. A program in a file, or on standard input, has none. So `total=$(python -c …)` is right until the data has
# grown, or the machine is busy, and a query takes more than two seconds; then the bar stands before the result.
# Seen, for a program that prints one number after a query that is slow on purpose:
#       from a file: the number
#       from -c: a progress bar and the number
#       from standard input: the number
#       from -c, the bar switched off: the number
#       from a file, progress_bar_time set: a progress bar and the number
# What to do: SET enable_progress_bar = false. (Setting progress_bar_time switches the bar on, in any program.)
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check duckdb==2.0.1 numpy==2.4.6
cd "$folder"
cat >program.py <<'PYTHON'
import time

import duckdb


def slow(order_id):
    time.sleep(0.0005)
    return order_id


duckdb.create_function("slow", slow, ["BIGINT"], "BIGINT")
duckdb.execute("create table orders as select range as id from range(8192)")
print(*duckdb.sql("select count(distinct slow(id)) from orders").fetchall()[0])
PYTHON
expect() {
    seen="something else"
    if [ "$(cat output.txt)" = 8192 ]; then
        seen="the number"
    elif grep -q '100%' output.txt && [ "$(tail -n 1 output.txt)" = 8192 ]; then
        seen="a progress bar and the number"
    fi
    echo "$1: $seen"
    [ "$seen" = "$2" ] || { echo "changed: not as stated" >&2 && exit 1; }
}
venv/bin/python program.py >output.txt
expect "from a file" "the number"
venv/bin/python -c "$(cat program.py)" >output.txt
expect "from -c" "a progress bar and the number"
venv/bin/python <program.py >output.txt
expect "from standard input" "the number"
venv/bin/python -c "import duckdb; duckdb.sql('set enable_progress_bar = false')
$(cat program.py)" >output.txt
expect "from -c, the bar switched off" "the number"
venv/bin/python -c "print(\"import duckdb; duckdb.sql('set progress_bar_time = 1')\"); print(open('program.py').read())" >timed.py
venv/bin/python timed.py >output.txt
expect "from a file, progress_bar_time set" "a progress bar and the number"
