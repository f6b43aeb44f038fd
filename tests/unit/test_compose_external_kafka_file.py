"""compose.external-kafka.yml against docker-compose.yml, which it overrides, parsed without an engine."""

from tests.unit.compose_overlay import REMOVED, overlay_services
from tests.unit.test_compose_file import services

FILE = overlay_services("compose.external-kafka.yml")


def test_no_service_depends_on_the_kafka_of_the_project() -> None:
    for name, body in services().items():
        if FILE.get(name) == REMOVED:
            continue
        if "kafka:29092" in body or "<<: *settings" in body:
            assert FILE[name]["environment"]["KAFKA_BOOTSTRAP_SERVERS"].startswith("${KAFKA_BOOTSTRAP_SERVERS:?"), name
        # The common settings of services wait for Kafka, too.
        if "<<: *service" in body or "kafka: {" in body:
            waits_for = FILE[name]["depends_on"]
            assert waits_for == REMOVED or not {"kafka", "zookeeper"} & waits_for.keys(), name


def test_kafka_itself_is_removed() -> None:
    assert FILE["kafka"] == FILE["zookeeper"] == REMOVED
    assert FILE.keys() <= services().keys()
