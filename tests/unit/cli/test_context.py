"""Discovery of the pipeline and its settings."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from cli.context import CATALOGUE, Origin, Outputs, PipelineContext, find_context
from cli.errors import NoPipelineError, UsageError
from cli.options import PipelineOptions
from libs.runtime.errors import SettingsError
from local.paths import ROOT
from local.settings import LocalSettings

LOCAL = LocalSettings(
    directory=Path("/there/.local"),
    kafka_port=19_092,
    zookeeper_port=12_181,
    http_port=18_080,
    kafka_4=None,
    topic_prefix="local.",
    window_seconds=2,
    sink_outputs="file,database",
    sink_output_path=Path("/there/metrics.json"),
    sink_database_url="sqlite:////there/metrics.db",
    processor_catalogue_path=Path("/there/catalogue.json"),
)
NOTHING = Outputs(None, None, None)


@dataclass
class FakeMachine:
    local: LocalSettings | None = None
    compose: Mapping[str, str] = field(default_factory=dict)
    broker_ports: tuple[int, ...] = ()

    def running_local_mode(self) -> LocalSettings | None:
        return self.local

    def compose_environment(self) -> Mapping[str, str]:
        return self.compose

    def kafka_answers(self, port: int) -> bool:
        return port in self.broker_ports


EVERYTHING = FakeMachine(LOCAL, {}, (9092,))


def found(
    machine: FakeMachine, environment: Mapping[str, str] | None = None, options: PipelineOptions | None = None
) -> PipelineContext:
    return find_context(options or PipelineOptions(), environment or {}, machine)


def test_explicit_options_take_precedence_over_discovery() -> None:
    environment = {"KAFKA_BOOTSTRAP_SERVERS": "here:1", "TOPIC_PREFIX": "mine.", "WINDOW_SECONDS": "10"}
    named = PipelineContext(Origin.ENVIRONMENT, "here:1", "mine.", 10, NOTHING, CATALOGUE)
    assert found(EVERYTHING, environment) == named
    there = PipelineOptions(bootstrap="a:1, [::1]:2")
    assert found(EVERYTHING, environment, there) == replace(
        named, origin=Origin.OPTION, bootstrap_servers="a:1,[::1]:2"
    )
    all_options = PipelineOptions(bootstrap="there:2", topic_prefix="", window_seconds=20)
    assert found(EVERYTHING, environment, all_options) == PipelineContext(
        Origin.OPTION, "there:2", "", 20, NOTHING, CATALOGUE
    )


def test_local_mode_is_discovered_with_the_settings_of_its_start() -> None:
    environment = {
        "TOPIC_PREFIX": "another.",
        "WINDOW_SECONDS": "60",
        "SINK_OUTPUTS": "file",
        "SINK_OUTPUT_PATH": "/another.json",
        "PROCESSOR_CATALOGUE_PATH": "another.json",
        "SINK_DATABASE_PASSWORD_FILE": "/run/secret",
    }
    expected = PipelineContext(
        Origin.LOCAL,
        "127.0.0.1:19092",
        "local.",
        2,
        Outputs(Path("/there/metrics.json"), "sqlite:////there/metrics.db", Path("/run/secret")),
        Path("/there/catalogue.json"),
    )
    assert found(EVERYTHING, environment) == expected
    options = PipelineOptions(topic_prefix="", window_seconds=5)
    assert found(EVERYTHING, environment, options) == replace(expected, topic_prefix="", window_seconds=5)


def test_local_mode_can_be_selected_although_others_run() -> None:
    environment = {"KAFKA_BOOTSTRAP_SERVERS": "there:1"}
    local = PipelineOptions(local=True)
    assert found(EVERYTHING, environment, local) == found(EVERYTHING)
    with pytest.raises(NoPipelineError, match="no pipeline is running in") as none:
        found(FakeMachine(None, {}, ()), environment, local)
    assert none.value.advice == "`make run` starts one"
    with pytest.raises(UsageError, match="name two pipelines"):
        found(EVERYTHING, {}, PipelineOptions(local=True, bootstrap="there:2"))


def test_where_local_mode_does_not_run_the_broker_that_answers_is_named() -> None:
    compose = FakeMachine(None, {"PIPELINE_KAFKA_PORT": "9093"}, (9093,))
    with pytest.raises(NoPipelineError, match="no pipeline is running in") as none:
        found(compose, {}, PipelineOptions(local=True))
    assert "BOOTSTRAP=localhost:9093" in none.value.advice
    assert "--bootstrap localhost:9093" in none.value.advice


def test_the_outputs_that_local_mode_does_not_have_are_not_compared() -> None:
    only_file = FakeMachine(replace(LOCAL, sink_outputs="file"))
    assert found(only_file).outputs == Outputs(Path("/there/metrics.json"), None, None)
    only_database = FakeMachine(replace(LOCAL, sink_outputs="database"))
    assert found(only_database).outputs == Outputs(None, "sqlite:////there/metrics.db", None)


def test_compose_is_discovered_by_its_published_port_with_the_settings_of_its_env_file() -> None:
    compose = {
        "PIPELINE_KAFKA_PORT": "9093",
        "TOPIC_PREFIX": "mine.",
        "WINDOW_SECONDS": "10",
        "OUTPUT_DIR": "/elsewhere",
        "PROCESSOR_CATALOGUE_PATH": "mine.json",
    }
    assert found(FakeMachine(None, compose, (9093,))) == PipelineContext(
        Origin.COMPOSE,
        "localhost:9093",
        "mine.",
        10,
        Outputs(Path("/elsewhere/metrics.json"), None, None),
        ROOT / "mine.json",
    )
    plain = found(FakeMachine(None, {}, (9092,)))
    assert plain.bootstrap_servers == "localhost:9092"
    assert plain.outputs.file == ROOT / "output" / "metrics.json"
    assert found(FakeMachine(None, {"SINK_OUTPUTS": "database"}, (9092,))).outputs.file is None
    moved = found(FakeMachine(None, compose | {"SINK_OUTPUTS": "file,database"}, (9093,)))
    assert moved.outputs.database_url == "sqlite:////elsewhere/metrics.db"


def test_without_a_pipeline_the_error_says_how_to_start_or_select_one() -> None:
    with pytest.raises(
        NoPipelineError, match=r"no pipeline is running in .*, and no broker answers at localhost:9093"
    ) as no:
        found(FakeMachine(None, {"PIPELINE_KAFKA_PORT": "9093"}, (9092,)))
    assert "make run" in no.value.advice
    assert "docker compose up" in no.value.advice
    assert "--bootstrap" in no.value.advice


def test_a_file_elsewhere_is_compared_only_if_its_folder_is_there(tmp_path: Path) -> None:
    """In the container `cli` it always is: then a missing file is a difference."""
    metrics = tmp_path / "output" / "metrics.json"
    environment = {"KAFKA_BOOTSTRAP_SERVERS": "here:1", "SINK_OUTPUT_PATH": str(metrics)}
    assert found(FakeMachine(), environment).outputs.file is None
    metrics.parent.mkdir()
    assert found(FakeMachine(), environment).outputs.file == metrics
    assert found(FakeMachine(), environment | {"SINK_OUTPUTS": "database"}).outputs.file is None


def test_a_database_elsewhere_is_compared_when_the_sink_writes_one() -> None:
    def database(**environment: str) -> tuple[str | None, Path | None]:
        outputs = found(FakeMachine(), {"KAFKA_BOOTSTRAP_SERVERS": "here:1", **environment}).outputs
        return outputs.database_url, outputs.database_password_file

    url = "postgresql://sink@here/metrics"
    assert database() == (None, None)
    assert database(SINK_DATABASE_URL=url) == (None, None)
    assert database(SINK_OUTPUTS="file,database") == ("sqlite:///output/metrics.db", None)
    settings = {"SINK_OUTPUTS": "database", "SINK_DATABASE_URL": url, "SINK_DATABASE_PASSWORD_FILE": "/run/secret"}
    assert database(**settings) == (url, Path("/run/secret"))


def test_empty_variables_count_as_unset() -> None:
    empty = dict.fromkeys(
        ("KAFKA_BOOTSTRAP_SERVERS", "WINDOW_SECONDS", "SINK_OUTPUT_PATH", "PROCESSOR_CATALOGUE_PATH"), ""
    )
    assert found(FakeMachine(None, empty, (9092,)), empty) == found(FakeMachine(None, {}, (9092,)))


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"KAFKA_BOOTSTRAP_SERVERS": ":::"}, "KAFKA_BOOTSTRAP_SERVERS=':::': ':::' is no host:port"),
        ({"KAFKA_BOOTSTRAP_SERVERS": "sasl://u:hid'den@b:1"}, "^KAFKA_BOOTSTRAP_SERVERS: allowed is host:port without"),
        ({"KAFKA_BOOTSTRAP_SERVERS": "a:1", "WINDOW_SECONDS": "a minute"}, "WINDOW_SECONDS='a minute'"),
        ({"KAFKA_BOOTSTRAP_SERVERS": "a:1", "WINDOW_SECONDS": "0"}, "WINDOW_SECONDS='0'"),
    ],
)
def test_the_error_for_an_invalid_setting_names_it(environment: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        found(FakeMachine(), environment)


def test_the_error_for_an_invalid_published_port_names_it() -> None:
    with pytest.raises(SettingsError, match="PIPELINE_KAFKA_PORT='kafka'"):
        found(FakeMachine(None, {"PIPELINE_KAFKA_PORT": "kafka"}))


def test_a_database_s_password_is_in_no_text_of_a_context(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LOCAL_DIR", str(tmp_path))
    monkeypatch.setenv("SINK_OUTPUTS", "database")
    monkeypatch.setenv("SINK_DATABASE_URL", "postgresql://sink:hidden@here/metrics?password=hidden")
    LocalSettings.from_environment().save()
    assert (tmp_path / "settings.json").stat().st_mode & 0o077 == 0
    running = LocalSettings.of_running()
    assert running.outputs == "postgresql://sink@here/metrics"
    context = found(FakeMachine(running))
    assert context.outputs.database_url == "postgresql://sink:hidden@here/metrics?password=hidden"
    assert "hidden" not in repr(context)


@pytest.mark.parametrize(
    ("started_with", "expected"),
    [
        ("", CATALOGUE),
        ("mine/catalogue.json", ROOT / "mine/catalogue.json"),
        ("/a/catalogue.json", Path("/a/catalogue.json")),
    ],
)
def test_a_local_pipeline_is_verified_with_the_catalogue_of_its_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, started_with: str, expected: Path
) -> None:
    monkeypatch.setenv("LOCAL_DIR", str(tmp_path))
    monkeypatch.setenv("PROCESSOR_CATALOGUE_PATH", started_with)
    LocalSettings.from_environment().save()
    monkeypatch.setenv("PROCESSOR_CATALOGUE_PATH", "another.json")
    assert found(FakeMachine(LocalSettings.of_running())).catalogue == expected
