#!/bin/sh
# orjson 3.13.0, an integer of more than 64 bits.
#
# What one would expect: an int, as from json.loads, or an error, as orjson.dumps raises for the same number.
# What happens: loads returns a float without a word, so ids that differ in their last digits become equal. Written again they are
# 1.8446744073709552e19, which is no integer for most readers. Up to 18446744073709551615 integers are exact.
# Seen: loads: 1.8446744073709552e+19 float  equal: True  dumps of the int: Integer exceeds 64-bit range
# What to do: ids as strings; where others send numbers, refuse a float in a field of integers.
# Also reported: https://github.com/ijl/orjson/issues/308
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check orjson==3.13.0
cd "$folder"
venv/bin/python - <<'PYTHON'
import json

import orjson

first, second = '{"order_id": 18446744073709551616}', '{"order_id": 18446744073709551999}'
ids = [orjson.loads(text)["order_id"] for text in (first, second)]
refused = ""
try:
    orjson.dumps(json.loads(first))
except TypeError as error:
    refused = str(error)
print("loads:", ids[0], type(ids[0]).__name__, " equal:", ids[0] == ids[1], " dumps of the int:", refused)
assert isinstance(ids[0], float), "changed: not a float"
assert ids[0] == ids[1], "changed: the ids differ"
assert json.loads(first) != json.loads(second)
assert "64-bit" in refused, "changed: dumps takes the integer"
assert orjson.loads("18446744073709551615") == 2**64 - 1
print("as stated: two orders have the same id")
PYTHON
