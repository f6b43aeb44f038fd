#!/bin/sh
# pandas 3.1.1, read_json on newline-delimited JSON, a column of strings.
#
# What one would expect: JSON has types, so a string stays a string, unlike a field of CSV.
# What happens: if every string of a column can be read as a number, the column becomes int64 or float64 without a word. "012", "12"
# and "1_2" are the same product, and are added up as one. Ids beyond 64 bits are equal if their first digits are, and so are ids
# beyond 2^53 if one row has none. It depends on the other rows: one id with a letter, and all of them stay as they are.
# Seen: revenue by product: {12: 60} of the strings: {'012': 20, '12': 10, '1_2': 30}
#       18446744073709551617 18446744073709551618: [1.8446744073709552e+19] of the strings: 2
#       9007199254740992 9007199254740993 None: [9007199254740992.0] of the strings: 2
# What to do: dtype={"product_id": str}, or dtype=False.
# Also reported: https://github.com/pandas-dev/pandas/issues/42471
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pandas==3.1.1
cd "$folder"
venv/bin/python - <<'PYTHON'
import io
import json

import pandas as pd


def read(rows, **options):
    return pd.read_json(io.StringIO("".join(json.dumps(row) + "\n" for row in rows)), lines=True, **options)


def revenue(**options):
    rows = [{"product_id": product, "revenue": 10 * n} for n, product in enumerate(["12", "012", "1_2"], start=1)]
    return read(rows, **options).groupby("product_id")["revenue"].sum().to_dict()


def ids(*values, **options):
    return read([{"order_id": value} for value in values], **options)["order_id"].dropna().unique().tolist()


text = {"dtype": {"product_id": str, "order_id": str}}
print("revenue by product:", revenue(), "of the strings:", revenue(**text))
assert revenue() == {12: 60}, "changed: the products differ"
assert revenue(**text) == {"12": 10, "012": 20, "1_2": 30}, "changed: naming the type does not help"

long = ("18446744073709551617", "18446744073709551618")
print("%s %s:" % long, ids(*long), "of the strings:", len(ids(*long, **text)))
assert len(ids(*long)) == 1, "changed: ids beyond 64 bits differ"
assert ids(*long, **text) == list(long), "changed: naming the type does not help"

one_missing = ("9007199254740992", "9007199254740993", None)
print("%s %s %s:" % one_missing, ids(*one_missing), "of the strings:", len(ids(*one_missing, dtype=False)))
assert len(ids(*one_missing)) == 1, "changed: ids beside a missing one differ"
assert ids(*one_missing, dtype=False) == list(one_missing[:2]), "changed: dtype=False does not help"

assert revenue(dtype=False) == revenue(**text), "changed: dtype=False does not help"
assert ids("012", "12", "a-1") == ["012", "12", "a-1"], "changed: ids with a letter among them are converted"
print("as stated: three products are one, and two orders have the same id, twice")
PYTHON
