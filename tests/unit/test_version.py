"""The version is defined in libs/version.py; all other places have the same one."""

import re
from pathlib import Path

import pytest

from libs.runtime.service.settings import ServiceSettings, load_settings
from libs.version import VERSION
from live.live_settings import LiveSettings
from services.analytics.analytics_settings import AnalyticsSettings
from services.generator.generator_settings import GeneratorSettings
from services.processor.processor_settings import ProcessorSettings
from services.sink.sink_settings import SinkSettings
from tests.integration.services import ROOT

DOCKERFILES = sorted([*ROOT.glob("services/*/Dockerfile"), *ROOT.glob("*/Dockerfile")])


@pytest.mark.parametrize(
    "service", [GeneratorSettings, ProcessorSettings, AnalyticsSettings, SinkSettings, LiveSettings]
)
def test_each_service_prints_its_version(service: type[ServiceSettings], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as done:
        load_settings(service, ["--version"])
    assert done.value.code == 0
    assert capsys.readouterr().out.split()[-1] == VERSION


def test_images_are_found() -> None:
    assert len(DOCKERFILES) >= 5


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.parent.name)
def test_each_image_is_labelled_with_the_version(path: Path) -> None:
    label = re.findall(r'org\.opencontainers\.image\.version="(.*)"', path.read_text())
    assert label == [VERSION]


def test_the_images_of_kubernetes_are_of_this_release() -> None:
    release = VERSION.partition(".dev")[0]
    tags = re.findall(r'newTag: "(.*)"', (ROOT / "kubernetes" / "base" / "kustomization.yaml").read_text())
    built = re.findall(r"registry\.example/order-pipeline/\S+?:(\S+)", (ROOT / "docs" / "kubernetes.md").read_text())
    assert tags
    assert built
    assert set(tags + built) == {release}


def test_the_changelog_begins_with_the_version() -> None:
    first = re.search(r"^## (\S+) - (\S+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert first
    release, _, unreleased = VERSION.partition(".dev")
    assert first[1] == release
    assert (first[2] == "unreleased") == bool(unreleased)
