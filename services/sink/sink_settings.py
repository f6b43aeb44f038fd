"""The sink's settings."""

import importlib.util
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator
from pydantic_settings import NoDecode

from libs.runtime.service.settings import ServiceSettings
from services.sink.database.address import Address, parse_address
from services.sink.file.finished_files import GZIP_SUFFIX, PARQUET_SUFFIX
from services.sink.file.rotate_setting import Rotate, parse_rotate

OutputKind = Literal["file", "database"]
RotatedFormat = Literal["json", "gzip", "parquet"]


def _split(value: object) -> object:
    return tuple(part.strip().lower() for part in value.split(",")) if isinstance(value, str) else value


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


class SinkSettings(ServiceSettings):
    """Writes metrics, each once: `product-metrics` to the file `output/metrics.json`, to a database, or to both."""

    sink_outputs: Annotated[tuple[OutputKind, ...], NoDecode, BeforeValidator(_split)] = Field(
        ("file",), min_length=1, max_length=2, description="file, database, or both separated by a comma"
    )
    sink_output_path: Path = Field(
        Path("output/metrics.json"), description="file that the metrics are written to, one JSON object a line"
    )
    sink_rotate: str | None = Field(
        None,
        description="when that file is finished and a new one begins: day (UTC), or a size from 1KB, such as 100MB",
    )
    sink_rotated_format: Annotated[RotatedFormat, BeforeValidator(_lower)] = Field(
        "json", description="format that finished files are converted to: json (none), gzip or parquet"
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
    def _outputs_are_distinct(cls, outputs: tuple[OutputKind, ...]) -> tuple[OutputKind, ...]:
        if len(set(outputs)) < len(outputs):
            raise ValueError("an output is named twice")
        return outputs

    @field_validator("sink_output_path")
    @classmethod
    def _output_path_is_uncompressed(cls, path: Path) -> Path:
        if path.suffix in (GZIP_SUFFIX, PARQUET_SUFFIX):
            raise ValueError(
                f"{path.suffix} is for finished files, which SINK_ROTATED_FORMAT converts; use a name such as metrics.json"
            )
        return path

    @field_validator("sink_rotate")
    @classmethod
    def _rotate_is_valid(cls, rotate: str | None) -> str | None:
        if rotate is not None:
            parse_rotate(rotate)
        return rotate

    @field_validator("sink_rotated_format")
    @classmethod
    def _rotated_format_is_usable(cls, rotated_format: RotatedFormat, info: ValidationInfo) -> RotatedFormat:
        if rotated_format != "json" and info.data.get("sink_rotate", "") is None:
            raise ValueError("no file is ever finished without SINK_ROTATE")
        if rotated_format == "parquet" and importlib.util.find_spec("pyarrow") is None:
            raise ValueError("needs pyarrow: `python -m pip install -r services/sink/requirements-parquet.txt`")
        return rotated_format

    @field_validator("sink_database_url")
    @classmethod
    def _database_url_is_valid(cls, url: str) -> str:
        parse_address(url)
        return url

    @field_validator("sink_database_password_file")
    @classmethod
    def _password_file_fits_the_url(cls, path: Path | None, info: ValidationInfo) -> Path | None:
        if path is not None and "sink_database_url" in info.data:
            parse_address(info.data["sink_database_url"], path)
        return path

    def rotate(self) -> Rotate | None:
        """When a file is finished; None: never."""
        return None if self.sink_rotate is None else parse_rotate(self.sink_rotate)

    def database_address(self) -> Address:
        """The database that the settings name."""
        return parse_address(self.sink_database_url, self.sink_database_password_file)
