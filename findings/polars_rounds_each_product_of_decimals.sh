#!/bin/sh
# Polars 2.1.0, the product of two Decimal columns.
#
# What one would expect: cents times hundredths have four decimals, as in SQL, where a product has the scales of both added up.
# What happens: a product has the larger one of the two scales, and each row is rounded to it without a word. Where every order
# has a fee of less than half a cent, all fees together are nothing.
# Seen: each: 0.00 (Decimal(precision=38, scale=2)) all: 0.00 cast before: 40.0000
# What to do: cast a factor to the scale that the product needs, before the product: cast(pl.Decimal(38, 4)).
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check polars==2.1.0
cd "$folder"
venv/bin/python - <<'PYTHON'
from decimal import Decimal

import polars as pl

# 10,000 orders of 20 cents, with a fee of 2 %
cents = pl.Decimal(18, 2)
orders = pl.DataFrame(
    {"amount": [Decimal("0.20")] * 10_000, "rate": [Decimal("0.02")] * 10_000}, schema={"amount": cents, "rate": cents}
)
fees = orders.select(fee=pl.col("amount") * pl.col("rate"))["fee"]
cast_before = orders.select(fee=pl.col("amount").cast(pl.Decimal(38, 4)) * pl.col("rate"))["fee"].sum()
exact = sum((row["amount"] * row["rate"] for row in orders.iter_rows(named=True)), Decimal(0))
print("each:", fees[0], f"({fees.dtype})", "all:", fees.sum(), "cast before:", cast_before)
assert exact == Decimal("40.00")
assert (fees.dtype, fees.sum()) == (pl.Decimal(38, 2), 0), "changed: the fees are not rounded away"
assert cast_before == exact, "changed: a cast before the product does not help"
print("as stated: fees of 40.00 in all are 0.00")
PYTHON
