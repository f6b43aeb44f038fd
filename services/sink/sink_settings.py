"""The sink's settings."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator
from pydantic_settings import NoDecode

from libs.runtime.settings import ServiceSettings
from services.sink.database.address import Address, parse_address

OutputKind = Literal["file", "database"]


def _split(value: object) -> object:
    return tuple(part.strip().lower() for part in value.split(",")) if isinstance(value, str) else value


class SinkSettings(ServiceSettings):
    """Writes metrics, each once: `product-metrics` to the file `output/metrics.json`, to a database, or to both."""

    sink_outputs: Annotated[tuple[OutputKind, ...], NoDecode, BeforeValidator(_split)] = Field(
        ("file",), min_length=1, max_length=2, description="file, database, or both with a comma"
    )
    sink_output_path: Path = Field(
        Path("output/metrics.json"), description="file that the metrics are written to, one JSON object a line"
    )
    sink_database_url: str = Field(
        "sqlite:///output/metrics.db",
        repr=False,
        description="database that the metrics are written to: sqlite:///path or postgresql://user@host:port/database",
    )
    sink_database_password_file: Path | None = Field(
        None, description="file that holds the database's password, which is then not in the URL"
    )

    @field_validator("sink_outputs")
    @classmethod
    def _each_once(cls, outputs: tuple[OutputKind, ...]) -> tuple[OutputKind, ...]:
        if len(set(outputs)) < len(outputs):
            raise ValueError("an output is named twice")
        return outputs

    @field_validator("sink_database_url")
    @classmethod
    def _is_known(cls, url: str) -> str:
        parse_address(url)
        return url

    @field_validator("sink_database_password_file")
    @classmethod
    def _has_a_use(cls, path: Path | None, info: ValidationInfo) -> Path | None:
        if path is not None and "sink_database_url" in info.data:
            parse_address(info.data["sink_database_url"], path)
        return path

    def database_address(self) -> Address:
        """The database that the settings name."""
        return parse_address(self.sink_database_url, self.sink_database_password_file)
