"""Validates resources against the schemas; run by the Python of .venv-schemas, which has the schemas.

Reads a JSON array of resources from standard input, and writes a JSON array with the problem of each, an empty string if there
is none. Fields that are not in the schema are a problem.
"""

import importlib
import json
import sys
from typing import Any

import kubernetes_validate
import pydantic

MODELS = {
    "keda.sh/v1alpha1": "cloudcoil.models.keda.v1alpha1",
    "monitoring.coreos.com/v1": "cloudcoil.models.prometheus_operator.v1",
}


def problem_of(resource: dict[str, Any]) -> str:
    """The problem of a resource, or an empty string."""
    if resource["apiVersion"] in MODELS:
        return _by_model(resource)
    try:
        kubernetes_validate.validate(resource, kubernetes_validate.latest_version(), strict=True)
    except (kubernetes_validate.ValidationError, kubernetes_validate.SchemaNotFoundError) as error:
        return str(error) or repr(error)
    return ""


def _by_model(resource: dict[str, Any]) -> str:
    model = getattr(importlib.import_module(MODELS[resource["apiVersion"]]), resource["kind"])
    try:
        understood = model.model_validate(resource).model_dump(mode="json", by_alias=True, exclude_unset=True)
    except pydantic.ValidationError as error:
        return str(error)
    # The models ignore unknown fields.
    return "; ".join(_differences(resource, understood, ""))


def _differences(given: Any, understood: Any, path: str) -> list[str]:
    if isinstance(given, dict) and isinstance(understood, dict):
        unknown = [f"{path}/{key} is unknown" for key in given.keys() - understood.keys()]
        known = given.keys() & understood.keys()
        return unknown + [
            line for key in sorted(known) for line in _differences(given[key], understood[key], f"{path}/{key}")
        ]
    if isinstance(given, list) and isinstance(understood, list) and len(given) == len(understood):
        pairs = enumerate(zip(given, understood, strict=True))
        return [line for number, pair in pairs for line in _differences(*pair, f"{path}/{number}")]
    return [] if given == understood else [f"{path} is {given!r}, and is taken for {understood!r}"]


if __name__ == "__main__":
    json.dump([problem_of(resource) for resource in json.load(sys.stdin)], sys.stdout)
