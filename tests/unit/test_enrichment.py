import json
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.processor.catalogue import enrich, load_catalogue, make_product
from services.processor.processor_settings import ProcessorSettings
from tests.unit.driver import order

PRODUCT = make_product("prod-1", {"product_name": "Lamp", "category": "Home"})


def enriched(text: str) -> dict[str, object]:
    value = enrich(text.encode(), orjson.loads(text), PRODUCT)

    def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
        assert len(dict(pairs)) == len(pairs), "a field is repeated"
        return dict(pairs)

    fields: dict[str, object] = json.loads(value, object_pairs_hook=unique)
    return fields


def test_the_products_fields_are_added() -> None:
    assert enriched(json.dumps(order())) == {**order(), "product_name": "Lamp", "category": "Home"}


def test_our_fields_replace_fields_of_the_same_name() -> None:
    fields = order(product_name="Evil", extra=1)
    assert enriched(json.dumps(fields)) == {**order(), "product_name": "Lamp", "category": "Home", "extra": 1}


@pytest.mark.parametrize("name", ["product_name", r"product\u005fname"])
def test_all_bytes_except_replaced_fields_are_unchanged(name: str) -> None:
    kept = '"big": 12345678901234567890123 , "list":[1e15,1e15], "deep":' + "[" * 90 + "]" * 90
    text = f'{json.dumps(order())[:-1]}, "{name}" : {{"}}": ["\\""]}} ,{kept}\n}} '
    value = enrich(text.encode(), orjson.loads(text), PRODUCT)
    assert kept.encode() in value
    assert len(value) <= len(text) + len(PRODUCT.closing_json)
    fields = orjson.loads(value)
    assert fields["product_name"] == "Lamp"
    assert value.count(b"Lamp") == 1
    assert value.count(b"category") == 1


@pytest.mark.parametrize("name", ["amount", r"am\u006funt"])
@pytest.mark.parametrize("ours", ["", ', "category": [1]'])
def test_only_the_digits_of_an_amount_with_a_rounding_error_change(name: str, ours: str) -> None:
    sent = f'{{ "note" : "\u00fc", "{name}" :\t863.3700000000001 , "x":1E2, "product_id":"prod-1"{ours} }}\n'
    exact = sent.replace("863.3700000000001", "863.37")
    assert enrich(sent.encode(), orjson.loads(sent), PRODUCT) == enrich(exact.encode(), orjson.loads(exact), PRODUCT)
    assert b':\t863.37 , "x":1E2' in enrich(sent.encode(), orjson.loads(sent), PRODUCT)


def test_replaced_fields_can_be_at_any_position() -> None:
    text = '{"category":[],' + json.dumps(order())[1:-1] + ',"product_name":"}","category2":{"category":1}}'
    assert enriched(text) == {**order(), "category2": {"category": 1}, "product_name": "Lamp", "category": "Home"}


@given(
    st.dictionaries(st.text(), st.text() | st.integers(-(2**53), 2**53) | st.booleans()),
    st.sampled_from([None, 0, 3]),
    st.text(alphabet=" \t\r\n"),
)
def test_extra_fields_are_kept_with_their_spacing(extra: dict[str, object], indent: int | None, trailing: str) -> None:
    fields = {**extra, **order()}
    text = json.dumps(fields, indent=indent) + trailing
    assert enriched(text) == {**fields, "product_name": "Lamp", "category": "Home"}


def test_the_shipped_catalogue_has_five_products() -> None:
    path = ProcessorSettings.model_fields["processor_catalogue_path"].default
    assert sorted(load_catalogue(path)) == [f"prod-{number}" for number in range(1, 6)]


def entry(product_id: str = "prod-1", **fields: object) -> str:
    return json.dumps({product_id: {"product_name": "Lamp", "category": "Home", **fields}})


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "{}", '{"prod-1": {}}', '{"prod-1": "Lamp"}', "[" * 100_000),
        entry(""),
        entry("x" * 65),
        entry("prod\0-1"),
        entry("\ud800"),
        entry(category="\ud800"),
        entry(rank=float("nan")),
        entry(rank=10**400),
        entry(rank=float("inf")),
        entry(amount=0),
        entry(timestamp=0),
        entry(deep=[]).replace("[]", "[" * 300 + "]" * 300),
    ],
)
def test_an_invalid_catalogue_is_rejected(tmp_path: Path, text: str) -> None:
    path = tmp_path / "catalogue.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"."):
        load_catalogue(path)


LAMP = '{"product_name": "Lamp", "category": "c"}'


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (f'{{"a": {LAMP}, "b": {LAMP}, "a": {LAMP}}}', "a"),
        (f'{{"a": {LAMP}, "\\u0061": {LAMP}}}', "a"),
        ('{"a": {"product_name": "Lamp", "category": "c", "category": "d"}}', "category"),
        ('{"a": {"product_name": "Lamp", "category": "c", "more": [{"x": 1, "x": 1}]}}', "x"),
    ],
)
def test_a_catalogue_that_names_something_twice_is_rejected(tmp_path: Path, text: str, named: str) -> None:
    """As the verification does; which of the two is meant is anybody's guess."""
    path = tmp_path / "catalogue.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=f"names '{named}' twice"):
        load_catalogue(path)
