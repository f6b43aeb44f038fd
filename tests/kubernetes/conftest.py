"""Fixtures of the tests of the manifests."""

import pytest

from tests.kubernetes.manifests import BUILDS, Resources, build


@pytest.fixture(params=BUILDS)
def resources(request: pytest.FixtureRequest) -> Resources:
    """Kustomize's output for the base and for each overlay."""
    return build(request.param)
