"""Settings: a class for each service, read from environment variables and command-line flags of the same names.

``GENERATOR_RATE=50`` in the environment is ``--generator-rate 50`` on the command line; the flag wins. An empty variable counts
as unset. So does an empty flag, unless the setting is empty by default: ``--topic-prefix ""`` wins over ``TOPIC_PREFIX``.
"""

from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Sequence
from functools import cached_property
from inspect import getdoc
from typing import Annotated, Literal, TypeVar

from pydantic import BeforeValidator, Field, ValidationError, field_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, CliSettingsSource, SettingsConfigDict
from pydantic_settings import SettingsError as UnreadableSettingError

from libs.runtime.errors import SettingsError
from libs.runtime.kafka_security.bootstrap_servers import parse_bootstrap_servers
from libs.runtime.kafka_security.security import KafkaAddress
from libs.runtime.kafka_security.settings import kafka_security
from libs.runtime.logs import shown_setting, without_secrets
from libs.version import VERSION

S = TypeVar("S", bound="ServiceSettings")


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


class ServiceSettings(BaseSettings):
    """Settings of every service."""

    model_config = SettingsConfigDict(
        cli_kebab_case=True, cli_avoid_json=True, cli_hide_none_type=True, env_ignore_empty=True, extra="ignore"
    )

    kafka_bootstrap_servers: str = Field(
        "localhost:9092", description="host:port of a broker, or several with commas; [address]:port for IPv6"
    )
    topic_prefix: str = Field(
        "",
        pattern=r"^[A-Za-z0-9._-]{0,100}$",
        description="prefix of every topic, group and transactional id, so that several pipelines can share a cluster",
    )
    topic_partitions: int = Field(6, ge=1, le=200, description="partitions of each topic, when it is created")
    topic_replication_factor: int = Field(1, ge=1, le=10, description="replicas of each topic, when it is created")
    http_host: str = Field("127.0.0.1", description="address of /health and /metrics; 0.0.0.0 for all")
    http_port: int = Field(0, ge=0, le=65535, description="port of /health and /metrics; 0 takes a free one")
    log_level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_lower)] = Field(
        "info", description="least severe level that is logged"
    )
    log_format: Literal["json", "console"] | None = Field(
        None, description="json or console; without it console on a terminal, json elsewhere"
    )

    @field_validator("kafka_bootstrap_servers")
    @classmethod
    def _can_be_looked_up(cls, servers: str) -> str:
        return parse_bootstrap_servers(servers)

    @cached_property
    def kafka(self) -> KafkaAddress:
        """The cluster, with the login parameters, which come from the environment only; raises ``SettingsError``."""
        return KafkaAddress(self.kafka_bootstrap_servers, kafka_security())


def load_settings(settings_class: type[S], arguments: Sequence[str]) -> S:
    """Settings from ``arguments`` and the environment.

    Raises:
        SettingsError: naming each bad setting, its value unless that may hold a secret, and what is allowed.
        SystemExit: after ``--help`` or ``--version`` (0), or on an unknown flag (2).
    """
    parser = ArgumentParser(
        description=getdoc(settings_class), formatter_class=RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {VERSION}")
    flags: CliSettingsSource[ArgumentParser] = CliSettingsSource(settings_class, root_parser=parser)
    flags.env_ignore_empty = False
    try:
        flags(args=list(arguments))
        # An empty prefix is one. An empty address or path is none: the server would listen on all addresses.
        flags.env_vars = {
            name: value
            for name, value in flags.env_vars.items()
            if value != "" or _is_empty_by_default(settings_class, name)
        }
        settings = settings_class(_cli_settings_source=flags)
    except ValidationError as error:
        problems = [_described(settings_class, item) for item in error.errors()]
        raise SettingsError(without_secrets("; ".join(dict.fromkeys(problems)))) from None
    except UnreadableSettingError as error:
        raise SettingsError(without_secrets(str(error))) from error
    _ = settings.kafka
    return settings


def _is_empty_by_default(settings_class: type[ServiceSettings], name: str) -> bool:
    field = settings_class.model_fields.get(name)
    return field is not None and field.default == ""


def _described(settings_class: type[ServiceSettings], item: ErrorDetails) -> str:
    message = item["msg"].removeprefix("Value error, ")
    if not item["loc"]:
        return message
    name = str(item["loc"][0])
    field = settings_class.model_fields.get(name)
    shown = shown_setting(name.upper(), item["input"]) if field is None or field.repr else name.upper()
    return f"{shown}: {message}" + (f" ({field.description})" if field and field.description else "")
