"""Validates every resource with the schemas of Kubernetes, KEDA and the Prometheus Operator."""

import copy
import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.kubernetes.manifests import BUILDS, ROOT, Resource, build, of_kind

PYTHON = ROOT / ".venv-schemas" / "bin" / "python"

# A mistake in each kind: an unknown field, or a value of another type. The key before the last one is a name,
# or an index in a list.
MISTAKES: dict[str, tuple[list[str | int], Any]] = {
    "ConfigMap": (["data", "TOPIC_PARTITIONS"], 6),
    "Deployment": (["spec", "template", "spec", "containers", 0, "livenessProbe", "httpGet", "url"], "/health"),
    "Namespace": (["metadata", "label"], {}),
    "NetworkPolicy": (["spec", "egress", 0, "ports", 0, "protocols"], "TCP"),
    "PodDisruptionBudget": (["spec", "unhealthyPodEviction"], "AlwaysAllow"),
    "PodMonitor": (["spec", "podMetricsEndpoints", 0, "every"], "5s"),
    "PrometheusRule": (["spec", "groups", 0, "rules", 0, "expression"], "up"),
    "ScaledObject": (["spec", "triggers", 0, "metadata", "lagThreshold"], 10_000),
    "Service": (["spec", "ports", 0, "targetPorts"], "http"),
    "StatefulSet": (["spec", "volumeClaimTemplates", 0, "spec", "accessMode"], "ReadWriteOnce"),
    "TriggerAuthentication": (["spec", "secretTargetRef", 0, "secret"], "kafka-user-processor"),
}


def problems(resources: Sequence[Resource]) -> list[str]:
    """The problem of each resource; an empty string if it is valid."""
    if not PYTHON.exists():
        if os.environ.get("CI"):
            pytest.fail("CI needs `make schemas`")
        pytest.skip("`make schemas` fetches the schemas")
    script = Path(__file__).with_name("validate.py")
    done = subprocess.run(
        [str(PYTHON), "-W", "ignore", str(script)],
        input=json.dumps(resources),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: list[str] = json.loads(done.stdout)
    return found


class Validated(NamedTuple):
    """The problems of all resources, and those of a wrong one of each kind."""

    right: list[str]
    wrong: dict[str, str]


@pytest.fixture(scope="module")
def validated() -> Validated:
    """Everything in one call, since loading the models takes seconds."""
    right = [resource for name in BUILDS for resource in build(name)]
    wrong = wrong_resources()
    found = problems([*right, *wrong.values()])
    of_wrong = dict(zip(wrong, found[len(right) :], strict=True))
    named = [
        f"{each['kind']} {each['metadata']['name']}: {problem}"
        for each, problem in zip(right, found, strict=False)
        if problem
    ]
    return Validated(named, of_wrong)


def wrong_resources() -> dict[str, Resource]:
    """A resource of each kind with its mistake."""
    resources = build("overlays/secured")
    wrong = {}
    for kind, (path, value) in MISTAKES.items():
        resource = copy.deepcopy(next(iter(of_kind(resources, kind).values())))
        place: Any = resource
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = value
        wrong[kind] = resource
    return wrong


def test_every_resource_is_valid(validated: Validated) -> None:
    assert not validated.right


def test_a_mistake_in_any_resource_kind_is_found(validated: Validated) -> None:
    assert {each["kind"] for each in build("overlays/secured")} == MISTAKES.keys() == validated.wrong.keys()
    for kind, problem in validated.wrong.items():
        assert str(MISTAKES[kind][0][-1]) in problem or "6 is not of type" in problem, f"{kind}: {problem!r}"
