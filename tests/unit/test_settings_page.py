"""docs/settings.md has each setting of each service, with its default, and no other."""

import re

import pytest
from pydantic.fields import FieldInfo

from libs.runtime.kafka_security.settings import KafkaSecuritySettings
from live.live_settings import LiveSettings
from services.analytics.analytics_settings import AnalyticsSettings
from services.generator.generator_settings import GeneratorSettings
from services.processor.processor_settings import ProcessorSettings
from services.sink.sink_settings import SinkSettings
from tests.unit.test_compose_file import LOCAL_MODE, SETTINGS_PAGE

SERVICES = (GeneratorSettings, ProcessorSettings, AnalyticsSettings, SinkSettings, LiveSettings)
# For these settings the page describes the default instead of giving its value.
DESCRIBED = {
    "LOG_FORMAT": "by terminal",
    "PROCESSOR_CATALOGUE_PATH": "the five products'",
    "GENERATOR_RESTART": "`unless-stopped`",
}


def declared() -> dict[str, FieldInfo]:
    return {name.upper(): field for service in SERVICES for name, field in service.model_fields.items()}


def documented() -> dict[str, str]:
    """The default of each setting on the page."""
    table = SETTINGS_PAGE.partition("| setting | default | |\n")[2].partition("\n\n")[0]
    defaults: dict[str, str] = {}
    for row in table.splitlines()[1:]:
        names, default = (cell.strip() for cell in row.split("|")[1:3])
        named = re.findall(r"`([A-Z_]+)`", names)
        each = default.split(", ") if "," in default else [default] * len(named)
        defaults |= dict(zip(named, each, strict=True))
    return defaults


def test_the_page_has_exactly_the_existing_settings() -> None:
    elsewhere = {name.upper() for name in KafkaSecuritySettings.model_fields}  # docs/security.md
    assert set(documented()) - elsewhere == declared().keys() | LOCAL_MODE


@pytest.mark.parametrize("name", declared())
def test_the_page_has_the_right_default(name: str) -> None:
    described = documented()[name]
    if name in DESCRIBED:
        assert DESCRIBED[name] in described
        return
    default = declared()[name].default
    if isinstance(default, tuple):
        default = ",".join(default)
    elif isinstance(default, bool):
        default = str(default).lower()
    elif isinstance(default, float):
        default = f"{default:g}"
    assert described.strip("`") == ("" if default is None else str(default))
