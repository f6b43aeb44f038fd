"""The Kafka version of local mode, and data of another version that it rejects."""

from pathlib import Path

import pytest

from local.errors import LocalModeError
from local.kafka_data import check_data
from local.kafka_files import KAFKA_MAIN, ZOOKEEPER_MAIN, KafkaFiles, class_archive
from local.kraft_files import DEFAULT_VERSION
from local.programs import INFRASTRUCTURE, with_programs_of
from local.settings import LocalSettings

# As the brokers write them: Kafka 3.9.2 with ZooKeeper, and in KRaft mode.
ZOOKEEPER_S = "#\n#Sat Nov 28 09:00:00 UTC 2026\nbroker.id=1\ncluster.id=abc\nversion=0\n"
KRAFT_S = "#\n#Sat Nov 28 09:00:00 UTC 2026\ncluster.id=abc\nnode.id=1\nversion=1\n"


@pytest.mark.parametrize(
    ("setting", "version"), [("", None), ("3.9", None), ("4", DEFAULT_VERSION), ("4.3.1", "4.3.1"), ("4.4.0", "4.4.0")]
)
def test_supported_kafka_versions(monkeypatch: pytest.MonkeyPatch, setting: str, version: str | None) -> None:
    monkeypatch.setenv("LOCAL_KAFKA", setting)
    assert LocalSettings.from_environment().kafka_4 == version


@pytest.mark.parametrize("setting", ["3", "3.8.0", "4.4", "5", "kraft", "4.4.0-rc1"])
def test_other_kafka_versions_are_rejected(monkeypatch: pytest.MonkeyPatch, setting: str) -> None:
    monkeypatch.setenv("LOCAL_KAFKA", setting)
    with pytest.raises(LocalModeError, match=rf"LOCAL_KAFKA='{setting}': 3.9 .*, 4, or a version such as 4"):
        LocalSettings.from_environment()


@pytest.mark.parametrize("kraft", [True, False])
def test_data_of_the_other_metadata_mode_is_rejected(tmp_path: Path, *, kraft: bool) -> None:
    check_data(tmp_path, kraft=kraft)
    (tmp_path / "data" / "kafka").mkdir(parents=True)
    file = tmp_path / "data" / "kafka" / "meta.properties"
    file.write_text(KRAFT_S if kraft else ZOOKEEPER_S)
    check_data(tmp_path, kraft=kraft)
    file.write_text(ZOOKEEPER_S if kraft else KRAFT_S)
    with pytest.raises(LocalModeError, match=r"has the data of Kafka .* LOCAL_KAFKA asks for") as refused:
        check_data(tmp_path, kraft=kraft)
    assert "LOCAL_DIR" in refused.value.advice


def test_scaling_leaves_kafka_as_it_was_started() -> None:
    running = "[supervisord]\na=1\n\n[program:kafka]\ncommand=java old\n\n[program:sink]\ncommand=python sink\n"
    scaled = "[supervisord]\na=1\n\n[program:kafka]\ncommand=java new\n\n[program:processor-2]\ncommand=python two\n"
    assert with_programs_of(running, scaled, INFRASTRUCTURE) == scaled.replace("java new", "java old")


def test_an_existing_class_data_archive_is_used(tmp_path: Path) -> None:
    libs = tmp_path / "libs"
    libs.mkdir()
    files = KafkaFiles(tmp_path, libs, 1, 2)
    class_archive(libs, KAFKA_MAIN).touch()
    assert f"-XX:SharedArchiveFile={libs}/kafka.Kafka.jsa" in files.kafka_command
    assert not [option for option in files.zookeeper_command if "SharedArchiveFile" in option]
    class_archive(libs, ZOOKEEPER_MAIN).touch()
    assert f"-XX:SharedArchiveFile={libs}/{ZOOKEEPER_MAIN}.jsa" in files.zookeeper_command
