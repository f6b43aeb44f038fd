"""Checks the format of a data folder: Kafka 3.9 with ZooKeeper and Kafka 4 cannot read each other's data."""

from pathlib import Path

from local.errors import LocalModeError

# meta.properties of a broker with ZooKeeper has version 0, with KRaft version 1.
_WITH_ZOOKEEPER, _WITH_KRAFT = "version=0", "version=1"


def check_data(directory: Path, *, kraft: bool) -> None:
    """Raise LocalModeError if the pipeline in ``directory`` has data in the other format."""
    file = directory / "data" / "kafka" / "meta.properties"
    lines = file.read_text().splitlines() if file.exists() else []
    other = _WITH_ZOOKEEPER if kraft else _WITH_KRAFT
    if other in lines:
        found, asked = ("3.9 with ZooKeeper", "4") if kraft else ("4", "3.9 with ZooKeeper")
        raise LocalModeError(
            f"{directory / 'data'} has the data of Kafka {found}, LOCAL_KAFKA asks for {asked}",
            advice="set LOCAL_DIR to another folder, or remove that one to start with no data;"
            " docs/moving_to_kafka_4.md says how a cluster of your own moves",
        )
