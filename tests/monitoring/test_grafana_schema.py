"""The dashboards' JSON against the models that Grafana Labs generate from Grafana's own schemas (grafana-foundation-sdk).

The models ignore unknown fields, and do not validate values: so each file has to be re-encoded by them
without loss, and each value is compared with the model's type.
"""

import json
import typing
from collections.abc import Iterator
from enum import Enum
from types import UnionType

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from tests.monitoring.queries import Json, dashboards

# The schema leaves further fields of an annotation to the data source; these are Prometheus'.
OF_PROMETHEUS = {"titleFormat", "textFormat", "step"}

register_default_plugins()


@pytest.fixture(params=sorted(dashboards()))
def dashboard(request: pytest.FixtureRequest) -> Json:
    found = dashboards()[request.param]
    for annotation in found["annotations"]["list"]:
        for name in OF_PROMETHEUS:
            del annotation[name]
    return found


def test_every_field_is_in_grafanas_models(dashboard: Json) -> None:
    assert list(differences(dashboard, as_json(Dashboard.from_json(dashboard)))) == []


def test_each_value_has_the_type_of_the_model(dashboard: Json) -> None:
    assert list(type_errors(Dashboard.from_json(dashboard), Dashboard)) == []


def as_json(model: object) -> object:
    return json.loads(JSONEncoder().encode(model))


def differences(ours: object, theirs: object, at: str = "") -> Iterator[str]:
    """The paths at which ``ours`` and ``theirs`` differ."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for name, value in ours.items():
            yield from differences(value, theirs.get(name), f"{at}.{name}")
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for number, (our, their) in enumerate(zip(ours, theirs, strict=True)):
            yield from differences(our, their, f"{at}[{number}]")
    elif ours != theirs:
        yield f"{at}: {ours!r} became {theirs!r}"


def type_errors(value: object, hint: object, at: str = "") -> Iterator[str]:
    """The paths of values in a model, or nested in it, whose types differ from the declared ones."""
    if hasattr(value, "to_json"):
        for name, inner in typing.get_type_hints(type(value)).items():
            yield from type_errors(getattr(value, name), inner, f"{at}.{name}")
    elif isinstance(value, list):
        [item] = [typing.get_args(choice)[0] for choice in choices(hint) if typing.get_origin(choice) is list] or [
            object
        ]
        for number, each in enumerate(value):
            yield from type_errors(each, item, f"{at}[{number}]")
    elif isinstance(value, dict) and (models := [each for each in choices(hint) if hasattr(each, "from_json")]):
        model = models[0].from_json(value)  # in some lists the models keep plain values
        yield from differences(value, as_json(model), at)
        yield from type_errors(model, hint, at)
    elif not any(has_type(value, choice) for choice in choices(hint)):
        yield f"{at}: {value!r} is no {hint}"


def choices(hint: object) -> tuple[object, ...]:
    return typing.get_args(hint) if typing.get_origin(hint) in {typing.Union, UnionType} else (hint,)


def has_type(value: object, kind: object) -> bool:
    if kind in {object, typing.Any}:
        return True
    if typing.get_origin(kind) is typing.Literal:
        return value in typing.get_args(kind)
    kind = typing.get_origin(kind) or kind
    assert isinstance(kind, type), kind
    if issubclass(kind, Enum):
        return value in list(kind) or value in [member.value for member in kind]
    return type(value) is kind or (kind is float and type(value) is int)
