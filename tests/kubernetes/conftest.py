"""What all tests of the manifests share."""

import pytest

from tests.kubernetes.manifests import BUILDS, Resources, build


@pytest.fixture(params=BUILDS)
def resources(request: pytest.FixtureRequest) -> Resources:
    """What Kustomize makes of the base, and of each overlay."""
    return build(request.param)
