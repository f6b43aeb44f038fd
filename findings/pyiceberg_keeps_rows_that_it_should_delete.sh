#!/bin/sh
# PyIceberg 0.12.0, Table.delete() and Table.overwrite() with a filter of two columns, and rows in which one of the two is null.
#
# What one would expect: delete() removes the rows that scan() finds with the same filter, and overwrite() puts the new rows in their
# place.
# What happens: a data file is written again with the rows that the filter does not match, and besides with all rows in which one of the
# filter's columns is null, unless the filter asks for null in that column. That is right for one column, and for `and`. With `or`, a row
# matches by one column while the other is null: it stays. So the orders of a customer who has no e-mail address are still there after
# they have been deleted, and an overwrite adds rows to those that it should replace. How many stay depends on the files: one in which
# all rows match is removed as a whole. There is no error and no warning.
# Seen, for orders of 10, 20, 30 and 40, where customer = 7 or email = 'a@x' finds o-1, o-2 and o-3:
#       delete: o-2 o-3 o-4
#       delete, each order in a file of its own: o-4
#       delete with one filter after the other: o-4
#       overwrite with what the scan has found: o-1 o-2 o-2 o-3 o-3 o-4, together 150 instead of 100
# What to do: a delete for each part of an `or`, in one transaction; scan again with the filter, and expect nothing.
# Rows with null in a filter's column are kept since https://github.com/apache/iceberg-python/pull/955, for filters of one column.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check 'pyiceberg[sql-sqlite]==0.12.0' pyarrow==26.0.1 sqlalchemy==2.1.9
cd "$folder"
venv/bin/python - "$folder" <<'PYTHON'
import sys

import pyarrow as pa
from pyiceberg.catalog.sql import SqlCatalog

schema = pa.schema({"order": pa.string(), "customer": pa.int64(), "email": pa.string(), "amount": pa.int64()})
orders = [
    pa.Table.from_pydict({"order": [order], "customer": [customer], "email": [email], "amount": [amount]}, schema=schema)
    for order, customer, email, amount in [
        ("o-1", 7, "a@x", 10),
        ("o-2", 7, None, 20),
        ("o-3", None, "a@x", 30),
        ("o-4", 8, "b@x", 40),
    ]
]
catalog = SqlCatalog("catalog", uri=f"sqlite:///{sys.argv[1]}/catalog.db", warehouse=f"file://{sys.argv[1]}/tables")
catalog.create_namespace("shop")
either = "customer = 7 or email = 'a@x'"


def table(name, files):
    created = catalog.create_table(f"shop.{name}", schema=schema)
    for rows in files:
        created.append(rows)
    return created


def names(rows):
    return " ".join(sorted(rows["order"].to_pylist()))


def expect(how, seen, stated):
    print(f"{how}: {seen}")
    assert seen == stated, f"changed: expected {stated}"


one_file = [pa.concat_tables(orders)]
deleted = table("deleted", one_file)
expect("scan", names(deleted.scan(row_filter=either).to_arrow()), "o-1 o-2 o-3")
deleted.delete(either)
expect("delete", names(deleted.scan().to_arrow()), "o-2 o-3 o-4")
expect("scan after it", names(deleted.scan(row_filter=either).to_arrow()), "o-2 o-3")

files = table("files", orders)
files.delete(either)
expect("delete, each order in a file of its own", names(files.scan().to_arrow()), "o-4")

parts = table("parts", one_file)
with parts.transaction() as transaction:
    transaction.delete("customer = 7")
    transaction.delete("email = 'a@x'")
expect("delete with one filter after the other", names(parts.scan().to_arrow()), "o-4")

replaced = table("replaced", one_file)
replaced.overwrite(replaced.scan(row_filter=either).to_arrow(), overwrite_filter=either)
rows = replaced.scan().to_arrow()
expect("overwrite with what the scan has found", names(rows), "o-1 o-2 o-2 o-3 o-3 o-4")
expect("amounts together", sum(rows["amount"].to_pylist()), 150)
print("as stated: rows that match by one column stay, if the other is null")
PYTHON
