"""Which output `pipeline metrics` reads."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from cli.commands.metrics import known_outputs
from cli.options import PipelineOptions
from tests.unit.cli.test_context import EVERYTHING, LOCAL, FakeMachine

DEFAULT = Path("output/metrics.json")
COMPOSE = FakeMachine(compose={"OUTPUT_DIR": "/compose", "SINK_OUTPUT_PATH": "/in/the/container.json"})


def known(
    machine: FakeMachine, environment: Mapping[str, str] | None = None, options: PipelineOptions | None = None
) -> tuple[str, Path]:
    outputs = known_outputs(options or PipelineOptions(), environment or {}, machine)
    return outputs.source, outputs.file


def test_local_mode_is_read_with_the_settings_of_its_start_unless_the_environment_has_others() -> None:
    assert known(EVERYTHING) == ("file", LOCAL.sink_output_path)
    assert known(EVERYTHING, {"SINK_OUTPUT_PATH": "/mine.json"}) == ("file", Path("/mine.json"))
    of_local = PipelineOptions(local=True)
    assert known(EVERYTHING, {"SINK_OUTPUT_PATH": "/mine.json"}, of_local) == ("file", LOCAL.sink_output_path)


@pytest.mark.parametrize("machine", [EVERYTHING, COMPOSE], ids=["local mode", "compose"])
def test_a_pipeline_elsewhere_is_not_read_from_the_outputs_of_the_one_on_this_machine(machine: FakeMachine) -> None:
    there = PipelineOptions(bootstrap="there:1")
    assert known(machine, {}, there)[0] == "topic"
    assert known(machine, {"SINK_OUTPUT_PATH": "/mine.json"}, there) == ("file", Path("/mine.json"))
    assert known(machine, {"SINK_OUTPUTS": "database"}, there)[0] == "database"
    in_environment = {"KAFKA_BOOTSTRAP_SERVERS": "there:1"}
    assert known(machine, in_environment) == ("file", DEFAULT)
    assert known(machine, in_environment | {"SINK_OUTPUT_PATH": "/mine.json"}) == ("file", Path("/mine.json"))


def test_compose_is_read_with_the_settings_of_its_env_file() -> None:
    assert known(COMPOSE) == ("file", Path("/compose/metrics.json"))
    assert known(COMPOSE, {"SINK_OUTPUT_PATH": "/mine.json"}) == ("file", Path("/mine.json"))
    assert known(FakeMachine(compose={"SINK_OUTPUTS": "database"}))[0] == "database"
    assert known(FakeMachine()) == ("file", DEFAULT)


def test_the_default_database_is_beside_the_file_of_the_container() -> None:
    outputs = known_outputs(PipelineOptions(), {}, COMPOSE)
    assert outputs.database_url == "sqlite:////compose/metrics.db"
