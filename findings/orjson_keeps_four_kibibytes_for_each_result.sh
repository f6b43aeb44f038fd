#!/bin/sh
# orjson 3.13.0, dumps() of small documents whose results are kept.
#
# What one would expect: the bytes that dumps() returns take about as much memory as they are long, as those of json.dumps() do.
# What happens: the result is written into a buffer of 4 KiB and shortened in place, and the rest of the buffer stays allocated for as
# long as the result lives. sys.getsizeof() does not show it. A program that keeps many short results, such as keys or small records
# that wait to be sent, takes a hundred times the memory that its sizes add up to, and a limit in bytes does not hold it.
# Seen, bytes for each of 100,000 kept results of nine bytes or fewer, as allocated and as reported by sys.getsizeof():
#       json.dumps: 43, 43
#       orjson.dumps: 4089, 42
#       a copy of orjson's result: 42, 42
# What to do: keep a copy, bytes(memoryview(result)), or limit the number of kept results.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check orjson==3.13.0
cat >"$folder/kept.py" <<'PYTHON'
import json
import sys
import tracemalloc

import orjson

COUNT = 100_000


def allocated(dumps):
    """Bytes allocated for each kept result, and the largest size that Python reports for one."""
    tracemalloc.start()
    kept = [dumps([1, number]) for number in range(COUNT)]
    each = (tracemalloc.get_traced_memory()[0] - sys.getsizeof(kept)) / COUNT
    tracemalloc.stop()
    return round(each), max(map(sys.getsizeof, kept))


plain = allocated(lambda value: json.dumps(value).encode())
shortened = allocated(orjson.dumps)
copied = allocated(lambda value: bytes(memoryview(orjson.dumps(value))))
print("bytes for each result, and as reported: json", *plain, "orjson", *shortened, "copied", *copied)
assert plain[0] < 200 and copied[0] < 200, "changed: json, or a copy, takes more"
assert shortened[0] > 4_000 and shortened[1] < 100, "changed: orjson's results take no more than their size"
print("as stated: a short result of orjson takes 4 KiB")
PYTHON
timeout 120 "$folder/venv/bin/python" "$folder/kept.py"
