"""compose.cluster.yml against docker-compose.yml, which it overrides, parsed without an engine."""

import re

from tests.unit.compose_overlay import overlay_services
from tests.unit.test_compose_file import COMPOSE, services

CLUSTER = overlay_services("compose.cluster.yml")
BROKERS = ("kafka", "kafka-2", "kafka-3")


def test_every_kafka_client_has_all_bootstrap_servers_and_waits_for_them() -> None:
    clients = {name for name, body in services().items() if "kafka:29092" in body or "<<: *settings" in body} - {
        "kafka"
    }
    assert clients == CLUSTER.keys() - set(BROKERS)
    for name in clients:
        # The command is run manually, and starts nothing.
        assert CLUSTER[name].get("depends_on", {}).keys() == (set() if name == "cli" else set(BROKERS)), name
        settings = CLUSTER[name].get("environment", {}) | {"": " ".join(CLUSTER[name].get("command", ()))}
        assert any(all(f"{broker}:29092" in value for broker in BROKERS) for value in settings.values()), name
    for name, body in services().items():
        if "<<: *settings" in body:
            assert CLUSTER[name]["environment"]["TOPIC_REPLICATION_FACTOR"] == "3", name


def test_each_broker_has_its_own_id_port_address_and_volume() -> None:
    for number, name in enumerate(BROKERS[1:], 2):
        broker = CLUSTER[name]
        assert broker["environment"]["KAFKA_BROKER_ID"] == str(number)
        ((port,), (volume,)) = broker["ports"], broker["volumes"]
        (published,) = re.findall(rf"^127\.0\.0\.1:(\$\{{PIPELINE_KAFKA_{number}_PORT:-\d+\}}):9092$", port)
        internal, external = broker["environment"]["KAFKA_ADVERTISED_LISTENERS"].split(",")
        assert (internal, external) == (f"INTERNAL://{name}:29092", f"EXTERNAL://localhost:{published}")
        assert volume == f"{name}-data:/var/lib/kafka/data"
    assert 'KAFKA_BROKER_ID: "1"' in COMPOSE


def test_brokers_require_replicated_writes() -> None:
    for name in BROKERS:
        settings = CLUSTER[name]["environment"]
        assert settings["KAFKA_MIN_INSYNC_REPLICAS"] == settings["KAFKA_TRANSACTION_STATE_LOG_MIN_ISR"] == "2"
        assert settings["KAFKA_UNCLEAN_LEADER_ELECTION_ENABLE"] == "false"
        for setting in ("DEFAULT", "OFFSETS_TOPIC", "TRANSACTION_STATE_LOG"):
            assert settings[f"KAFKA_{setting}_REPLICATION_FACTOR"] == "3"
