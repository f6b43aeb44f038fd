"""compose.external-kafka.yml against the file that it is laid over, read without an engine."""

from typing import Any

import yaml

from tests.integration.services import ROOT
from tests.unit.test_compose_file import services

_REMOVED = "removed"


class _Loader(yaml.SafeLoader):
    """Knows Compose's own tags."""


_Loader.add_constructor("!reset", lambda *_: _REMOVED)
_Loader.add_constructor("!override", lambda loader, node: loader.construct_mapping(node))  # type: ignore[arg-type]
FILE: dict[str, Any] = yaml.load((ROOT / "compose.external-kafka.yml").read_text(), Loader=_Loader)["services"]


def test_no_service_is_left_that_needs_the_kafka_of_the_project() -> None:
    for name, body in services().items():
        if FILE.get(name) == _REMOVED:
            continue
        if "kafka:29092" in body or "<<: *settings" in body:
            assert FILE[name]["environment"]["KAFKA_BOOTSTRAP_SERVERS"].startswith("${KAFKA_BOOTSTRAP_SERVERS:?"), name
        # The common settings of services wait for Kafka, too.
        if "<<: *service" in body or "kafka: {" in body:
            waits_for = FILE[name]["depends_on"]
            assert waits_for == _REMOVED or not {"kafka", "zookeeper"} & waits_for.keys(), name


def test_kafka_itself_is_left_out() -> None:
    assert FILE["kafka"] == FILE["zookeeper"] == _REMOVED
    assert FILE.keys() <= services().keys()
