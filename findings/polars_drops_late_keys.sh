#!/bin/sh
# Polars 2.1.0, read_ndjson and scan_ndjson without a given schema.
#
# What one would expect: a key that some objects have becomes a column that is null elsewhere, or reading fails.
# What happens: the schema is taken from the first 100 rows. A key that first appears after them is dropped without a word.
# Seen: guessed: ['amount'] 105 whole: ['amount', 'coupon']
# What to do: infer_schema_length=None, or a schema.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check polars==2.1.0
cd "$folder"
venv/bin/python - <<'PYTHON'
import polars as pl

with open("orders.ndjson", "w") as file:
    file.writelines('{"amount": 10}\n' for _ in range(100))
    file.writelines('{"amount": 10, "coupon": "c-1"}\n' for _ in range(5))

guessed = pl.read_ndjson("orders.ndjson")
whole = pl.read_ndjson("orders.ndjson", infer_schema_length=None)
print("guessed:", guessed.columns, guessed.height, "whole:", whole.columns)
assert (guessed.columns, guessed.height) == (["amount"], 105), "changed: the key is kept, or reading fails"
assert whole.columns == ["amount", "coupon"], "changed: reading the whole file does not help"
print("as stated: the key that appears after row 100 is gone")
PYTHON
