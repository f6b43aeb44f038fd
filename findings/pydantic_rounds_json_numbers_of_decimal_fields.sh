#!/bin/sh
# Pydantic 2.14.4, a Decimal field that is read from JSON.
#
# What one would expect: a Decimal field takes a number as it is written, and max_digits and decimal_places judge that number.
# What happens: a number with a decimal point is a 64-bit float first, and a Decimal of its shortest form afterwards. Beyond 15 or 17
# digits it is another number, and the limits judge that one: an amount with three decimals passes where two are allowed.
# A string with the same digits is taken, or refused, exactly. So is a number that json.loads(..., parse_float=Decimal) has read.
# Seen: number: 1234567890123456.8  string: 1234567890123456.78  three decimals: 70368744177664.13
# What to do: send amounts as strings or whole cents, or parse the JSON with parse_float=Decimal and use model_validate.
# Also reported: https://github.com/pydantic/pydantic/issues/9180
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pydantic==2.14.4 pydantic_core==2.50.5
cd "$folder"
venv/bin/python - <<'PYTHON'
import json
from decimal import Decimal
from typing import Annotated

from pydantic import BaseModel, Field, ValidationError


class Payment(BaseModel):
    amount: Annotated[Decimal, Field(max_digits=18, decimal_places=2)]


number = Payment.model_validate_json('{"amount": 1234567890123456.78}').amount
string = Payment.model_validate_json('{"amount": "1234567890123456.78"}').amount
parsed = Payment.model_validate(json.loads('{"amount": 1234567890123456.78}', parse_float=Decimal)).amount
three_decimals = Payment.model_validate_json('{"amount": 70368744177664.123}').amount
print("number:", number, " string:", string, " three decimals:", three_decimals)
assert string == parsed == Decimal("1234567890123456.78"), "changed: a string is not exact"
assert number == Decimal("1234567890123456.8"), "changed: the number is not rounded"
assert three_decimals == Decimal("70368744177664.13"), "changed: three decimals are not rounded to two"
try:
    Payment.model_validate_json('{"amount": "70368744177664.123"}')
except ValidationError as error:
    assert error.errors()[0]["type"] == "decimal_max_places", error
else:
    raise AssertionError("changed: three decimals in a string are accepted")
print("as stated: a Decimal field's JSON numbers are rounded before they are validated")
PYTHON
