"""Builds the resources of `kubernetes/` with Kustomize, and helpers to query them."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
MANIFESTS = ROOT / "kubernetes"
GUIDE = ROOT / "docs" / "kubernetes.md"
BUILDS = ("base", "overlays/plaintext", "overlays/secured")
SERVICES = ("generator", "processor", "analytics", "sink", "live")

Resource = dict[str, Any]
Resources = tuple[Resource, ...]


def kustomize() -> list[str]:
    """The command that builds a folder's resources; without an installed program, skips the test, except in CI."""
    if shutil.which("kustomize"):
        return ["kustomize", "build"]
    if shutil.which("kubectl"):
        return ["kubectl", "kustomize"]
    if os.environ.get("CI"):
        pytest.fail("CI needs kubectl or kustomize")
    pytest.skip("neither kubectl nor kustomize is installed")


@cache
def build(name: str) -> Resources:
    """All resources of a folder below `kubernetes/`."""
    return build_folder(MANIFESTS / name)


def build_folder(folder: Path) -> Resources:
    """All resources of ``folder``; raises CalledProcessError."""
    text = subprocess.run([*kustomize(), str(folder)], capture_output=True, text=True, check=True).stdout
    return tuple(yaml.safe_load_all(text))


def build_from_guide(folder: Path, containing: str) -> Resources:
    """All resources of an overlay on `overlays/secured`: the YAML in docs/kubernetes.md with this text, built in ``folder``."""
    (text,) = (each for each in re.findall(r"```yaml\n(.*?)```", GUIDE.read_text(), re.DOTALL) if containing in each)
    overlay = yaml.safe_load(text) | {"resources": [os.path.relpath(MANIFESTS / "overlays/secured", folder)]}
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(overlay))
    return build_folder(folder)


def of_kind(resources: Resources, *kinds: str) -> dict[str, Resource]:
    """The resources of these kinds, by name."""
    return {each["metadata"]["name"]: each for each in resources if each["kind"] in kinds}


def one(resources: Resources, kind: str, name: str) -> Resource:
    """The resource of this kind and name."""
    return of_kind(resources, kind)[name]


def workloads(resources: Resources) -> dict[str, Resource]:
    """The Deployments and StatefulSets, by name."""
    return of_kind(resources, "Deployment", "StatefulSet")


def pod_of(workload: Resource) -> Resource:
    """The specification of its pods."""
    spec: Resource = workload["spec"]["template"]["spec"]
    return spec


def container_of(workload: Resource) -> Resource:
    """Its pods' only container."""
    (container,) = pod_of(workload)["containers"]
    found: Resource = container
    return found


def pod_labels(workload: Resource) -> Mapping[str, str]:
    """The labels of its pods."""
    labels: Mapping[str, str] = workload["spec"]["template"]["metadata"]["labels"]
    return labels


def selects(selector: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    """Whether a label selector matches a pod with ``labels``."""
    return bool(selector) and selector.items() <= labels.items()


def environment_of(resources: Resources, workload: Resource) -> dict[str, str | None]:
    """The environment of its container; None for a value from a Secret."""
    container = container_of(workload)
    values: dict[str, str | None] = {}
    for source in container.get("envFrom", ()):
        values |= one(resources, "ConfigMap", source["configMapRef"]["name"])["data"]
    return values | {each["name"]: each.get("value") for each in container.get("env", ())}


def secrets_of(workload: Resource) -> Iterator[tuple[str, str]]:
    """Name and key of each Secret value that its pods need."""
    for variable in container_of(workload).get("env", ()):
        if "valueFrom" in variable:
            reference = variable["valueFrom"]["secretKeyRef"]
            yield reference["name"], reference["key"]
    for volume in pod_of(workload)["volumes"]:
        if "secret" in volume:
            yield from ((volume["secret"]["secretName"], item["key"]) for item in volume["secret"]["items"])


def mounted_files(workload: Resource) -> dict[str, str]:
    """The path of each mounted Secret file in its container, and its key in the Secret."""
    paths = {}
    volumes = {each["name"]: each for each in pod_of(workload)["volumes"]}
    for mount in container_of(workload)["volumeMounts"]:
        for item in volumes.get(mount["name"], {}).get("secret", {}).get("items", ()):
            paths[f"{mount['mountPath']}/{item['path']}"] = item["key"]
    return paths
