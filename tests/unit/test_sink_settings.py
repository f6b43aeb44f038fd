"""The sink's output settings, and the errors for invalid ones."""

import importlib.util
import re
from pathlib import Path

import pytest

from libs.runtime.errors import SettingsError
from libs.runtime.service.settings import load_settings
from services.sink.database.address import PostgresqlAddress, SqliteAddress, parse_address
from services.sink.file.rotate_setting import Rotate
from services.sink.sink_settings import SinkSettings
from tests.integration.services import ROOT


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OUTPUTS", "DATABASE_URL", "DATABASE_PASSWORD_FILE", "OUTPUT_PATH", "ROTATE", "ROTATED_FORMAT"):
        monkeypatch.delenv(f"SINK_{name}", raising=False)


def documented_commands() -> set[str]:
    """The settings of each command line in the documentation that begins with settings of the sink."""
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    found = (re.findall(r"\b((?:SINK_\w+=\S+ )+)(?:docker compose|make)\b", page.read_text()) for page in pages)
    return {each for of_page in found for each in of_page}


@pytest.mark.parametrize("settings", sorted(documented_commands()))
def test_a_documented_command_has_valid_settings(settings: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for each in settings.split():
        monkeypatch.setenv(*each.split("=", 1))
    load_settings(SinkSettings, [])


def test_a_file_is_the_default_and_sqlite_the_default_database() -> None:
    settings = load_settings(SinkSettings, [])
    assert settings.sink_outputs == ("file",)
    assert settings.database_address() == SqliteAddress(Path("output/metrics.db"))


@pytest.mark.parametrize(
    ("text", "outputs"),
    [("database", ("database",)), ("file,database", ("file", "database")), (" File , DATABASE ", ("file", "database"))],
)
def test_outputs_are_a_comma_separated_list(
    text: str, outputs: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert load_settings(SinkSettings, [f"--sink-outputs={text}"]).sink_outputs == outputs
    monkeypatch.setenv("SINK_OUTPUTS", text)
    assert load_settings(SinkSettings, []).sink_outputs == outputs


@pytest.mark.parametrize("text", ["kafka", "file,", "file,file", "file database", "file,database,file"])
def test_unknown_outputs_are_rejected(text: str) -> None:
    with pytest.raises(SettingsError, match=r"SINK_OUTPUTS=.*file, database, or both separated by a comma"):
        load_settings(SinkSettings, [f"--sink-outputs={text}"])


@pytest.mark.parametrize("name", ["metrics.json.gz", "metrics.parquet"])
def test_an_output_path_with_the_suffix_of_a_converted_file_is_rejected(name: str) -> None:
    with pytest.raises(SettingsError, match=r"SINK_OUTPUT_PATH=.*SINK_ROTATED_FORMAT"):
        load_settings(SinkSettings, [f"--sink-output-path=output/{name}"])


def test_rotation_is_off_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings(SinkSettings, []).rotate() is None
    monkeypatch.setenv("SINK_ROTATE", "100MB")
    monkeypatch.setenv("SINK_ROTATED_FORMAT", "GZIP")
    settings = load_settings(SinkSettings, [])
    assert settings.rotate() == Rotate(size_bytes=10**8)
    assert settings.sink_rotated_format == "gzip"
    assert load_settings(SinkSettings, ["--sink-rotate=day"]).rotate() == Rotate(by_day=True)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("SINK_ROTATE", "weekly", r"SINK_ROTATE='weekly': neither day nor a size \(.*day \(UTC\), or a size.*100MB"),
        ("SINK_ROTATE", "0MB", r"SINK_ROTATE='0MB'.*100MB"),
        ("SINK_ROTATED_FORMAT", "zip", r"SINK_ROTATED_FORMAT='zip'.*json \(none\), gzip or parquet"),
        ("SINK_ROTATED_FORMAT", "gzip", r"SINK_ROTATED_FORMAT='gzip': .*without SINK_ROTATE"),
    ],
)
def test_invalid_rotation_settings_are_rejected(
    name: str, value: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=message):
        load_settings(SinkSettings, [])


def test_parquet_is_rejected_without_pyarrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SINK_ROTATE", "day")
    monkeypatch.setenv("SINK_ROTATED_FORMAT", "parquet")
    assert load_settings(SinkSettings, []).sink_rotated_format == "parquet"
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(SettingsError, match=r"SINK_ROTATED_FORMAT='parquet': needs pyarrow.*requirements-parquet"):
        load_settings(SinkSettings, [])


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///metrics.db", "metrics.db"),
        ("sqlite:////var/lib/metrics.db", "/var/lib/metrics.db"),
        ("sqlite:///with%20space.db", "with space.db"),
    ],
)
def test_an_sqlite_url_becomes_a_path(url: str, path: str) -> None:
    assert parse_address(url) == SqliteAddress(Path(path))


@pytest.mark.parametrize(
    "url",
    [
        "metrics.db",
        "sqlite://metrics.db",
        "sqlite:///",
        "sqlite:///a.db?mode=ro",
        "mysql://user:hidden@host/database",
        "postgresql:/hidden",
        "postgresql://user:hidden@[host/database",
        "postgresql://user:hid%zzden@host/database",
        "postgresql://user@host/database?hidden=1",
        "postgresql://user:hid/den@host/database",
        "postgresql://user:hid?d/en@host/database",
        *(
            url
            for password in ("hid'den", 'hid"den', "hid den", "hid" + "d" * 250)
            for url in (
                f"postgresql+asyncpg://user:{password}@host:5432/database",
                f"postgresql://user:{password}@host:five/database",
                f"postgresql://host/database?user=user&pass={password}",
            )
        ),
    ],
)
def test_unsupported_databases_are_rejected_without_showing_the_password(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SINK_DATABASE_URL", url)
    with pytest.raises(SettingsError, match=r"SINK_DATABASE_URL: .*postgresql://user@host") as refused:
        load_settings(SinkSettings, [])
    assert "hid" not in str(refused.value)


def test_a_password_file_is_read_again_for_each_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = tmp_path / "secret"
    secret.write_text("first\r\n")
    monkeypatch.setenv("SINK_DATABASE_URL", "postgresql://sink:old@host:5433/metrics?sslmode=require")
    monkeypatch.setenv("SINK_DATABASE_PASSWORD_FILE", str(secret))
    address = load_settings(SinkSettings, []).database_address()
    assert isinstance(address, PostgresqlAddress)
    assert address.password() == "first"
    secret.write_text("second")
    assert address.password() == "second"
    assert str(address) == "postgresql://sink@host:5433/metrics"


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("postgresql://sink:Secret#@db:5432/metrics", "postgresql://sink@db:5432/metrics"),
        ("postgresql://sink:Sec?ret@db/metrics?sslmode=require", "postgresql://sink@db/metrics"),
        ("postgresql://sink:Se:cret@[::1]:5432,b:5433/metrics", "postgresql://sink@[::1]:5432,b:5433/metrics"),
        ("postgresql://db/metrics?user=sink&password=Secret@#", "postgresql://db/metrics"),
        ("postgres://sink@/metrics", "postgres://sink@/metrics"),
        ("postgresql://", "postgresql://"),
    ],
)
def test_an_address_is_shown_without_its_password(uri: str, shown: str) -> None:
    assert str(parse_address(uri)) == shown


def test_a_password_for_sqlite_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SINK_DATABASE_PASSWORD_FILE", "secret")
    with pytest.raises(SettingsError, match="SQLite has no passwords"):
        load_settings(SinkSettings, [])
