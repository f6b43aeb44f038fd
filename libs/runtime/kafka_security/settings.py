"""The settings for logging in to Kafka: environment variables only, since flags are visible in the process list."""

import re
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Annotated, Self, get_args
from urllib.parse import urlsplit

from aiokafka.abc import AbstractTokenProvider
from pydantic import BeforeValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict

from libs.runtime.errors import SettingsError
from libs.runtime.kafka_security.oauth import ClientCredentials, load_token_provider
from libs.runtime.kafka_security.security import KafkaSecurity, Mechanism, Protocol
from libs.runtime.kafka_security.tls import ReloadingTls, TlsFiles
from libs.runtime.logs import shown_setting
from libs.runtime.secret import Secret

_OAUTH = "KAFKA_SASL_OAUTH_"
_MECHANISMS = "PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER"
_PRINTABLE = re.compile(r"[!-~]+")
_HOST = re.compile(r"[A-Za-z0-9._:-]+")


def _upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


class KafkaSecuritySettings(BaseSettings):
    """Login settings, with the names of Kafka's own clients where they have one."""

    model_config = SettingsConfigDict(env_ignore_empty=True, extra="ignore", frozen=True, hide_input_in_errors=True)

    kafka_security_protocol: Annotated[Protocol, BeforeValidator(_upper)] = Field(
        "PLAINTEXT", description="PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL"
    )
    kafka_sasl_mechanism: Annotated[Mechanism | None, BeforeValidator(_upper)] = Field(None, description=_MECHANISMS)
    kafka_sasl_username: str | None = None
    kafka_sasl_password: SecretStr | None = None
    kafka_sasl_password_file: Path | None = None
    kafka_sasl_oauth_token_url: str | None = None
    kafka_sasl_oauth_client_id: str | None = None
    kafka_sasl_oauth_client_secret: SecretStr | None = None
    kafka_sasl_oauth_client_secret_file: Path | None = None
    kafka_sasl_oauth_scope: str | None = None
    kafka_sasl_oauth_token_provider: str | None = None
    kafka_ssl_ca_file: Path | None = None
    kafka_ssl_cert_file: Path | None = None
    kafka_ssl_key_file: Path | None = None
    kafka_ssl_key_password: SecretStr | None = None
    kafka_ssl_key_password_file: Path | None = None
    kafka_ssl_insecure_skip_hostname_check: bool = Field(default=False, description="true or false")

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if problems := list(self._problems()):
            raise ValueError("; ".join(problems))
        return self

    @cached_property
    def security(self) -> KafkaSecurity:
        """The login parameters of the settings, with all files read once.

        Raises:
            ValueError: naming the setting whose file or token provider cannot be used.
        """
        password = self._secret("KAFKA_SASL_PASSWORD") if self._logs_in_by_name else None
        if password is not None:
            password.read()
        return KafkaSecurity(
            protocol=self.kafka_security_protocol,
            mechanism=self.kafka_sasl_mechanism,
            username=self.kafka_sasl_username,
            password=password,
            tls=ReloadingTls(self._tls_files()) if self._has_tls else None,
            tokens=self._tokens() if self.kafka_sasl_mechanism == "OAUTHBEARER" else None,
        )

    @property
    def _has_sasl(self) -> bool:
        return self.kafka_security_protocol.startswith("SASL")

    @property
    def _has_tls(self) -> bool:
        return self.kafka_security_protocol.endswith("SSL")

    @property
    def _logs_in_by_name(self) -> bool:
        return self._has_sasl and self.kafka_sasl_mechanism != "OAUTHBEARER"

    def _tls_files(self) -> TlsFiles:
        has_password = self.kafka_ssl_key_password is not None or self.kafka_ssl_key_password_file is not None
        return TlsFiles(
            ca_file=self.kafka_ssl_ca_file,
            cert_file=self.kafka_ssl_cert_file,
            key_file=self.kafka_ssl_key_file,
            key_password=self._secret("KAFKA_SSL_KEY_PASSWORD") if has_password else None,
            check_hostname=not self.kafka_ssl_insecure_skip_hostname_check,
        )

    def _tokens(self) -> AbstractTokenProvider:
        if self.kafka_sasl_oauth_token_provider is not None:
            return load_token_provider(self.kafka_sasl_oauth_token_provider)
        assert self.kafka_sasl_oauth_token_url is not None
        assert self.kafka_sasl_oauth_client_id is not None
        secret = self._secret(_OAUTH + "CLIENT_SECRET")
        secret.read()
        return ClientCredentials(
            self.kafka_sasl_oauth_token_url, self.kafka_sasl_oauth_client_id, secret, self.kafka_sasl_oauth_scope
        )

    def _secret(self, name: str) -> Secret:
        value: SecretStr | None = getattr(self, name.lower())
        return Secret(
            name, value.get_secret_value() if value is not None else None, getattr(self, f"{name.lower()}_file")
        )

    def _set(self, prefix: str) -> list[str]:
        """The names of the settings with this prefix that do not have their default."""
        return [
            name.upper()
            for name, field in type(self).model_fields.items()
            if name.upper().startswith(prefix) and getattr(self, name) != field.default
        ]

    def _problems(self) -> Iterator[str]:
        protocol = f"KAFKA_SECURITY_PROTOCOL={self.kafka_security_protocol}"
        for has, prefix, allowed in (
            (self._has_sasl, "KAFKA_SASL_", "SASL_PLAINTEXT or SASL_SSL"),
            (self._has_tls, "KAFKA_SSL_", "SSL or SASL_SSL"),
        ):
            if not has and (names := self._set(prefix)):
                yield f"{', '.join(names)} has no effect with {protocol}: leave it out, or set {allowed}"
        if self._has_sasl:
            yield from self._problems_of_sasl(protocol)
        if self._has_tls:
            yield from self._problems_of_tls()

    def _problems_of_sasl(self, protocol: str) -> Iterator[str]:
        if self.kafka_sasl_mechanism is None:
            yield f"KAFKA_SASL_MECHANISM is not set, and {protocol} needs it: {_MECHANISMS}"
            return
        mechanism = f"KAFKA_SASL_MECHANISM={self.kafka_sasl_mechanism}"
        by_name = ["KAFKA_SASL_USERNAME", "KAFKA_SASL_PASSWORD"]
        names = self._set("KAFKA_SASL_")
        if self.kafka_sasl_mechanism == "OAUTHBEARER":
            if wrong := [name for name in names if name.startswith(tuple(by_name))]:
                yield f"{', '.join(wrong)} has no effect with {mechanism}: leave it out, or choose another mechanism"
            yield from self._problems_of_oauth(names, mechanism)
            return
        if wrong := [name for name in names if name.startswith(_OAUTH)]:
            yield f"{', '.join(wrong)} has no effect with {mechanism}: leave it out, or set OAUTHBEARER"
        if self.kafka_sasl_username is None:
            yield f"KAFKA_SASL_USERNAME is not set, and {mechanism} needs it"
        yield from self._one_of("KAFKA_SASL_PASSWORD", needed_by=mechanism)

    def _problems_of_oauth(self, names: list[str], mechanism: str) -> Iterator[str]:
        names = [name for name in names if name.startswith(_OAUTH)]
        if self.kafka_sasl_oauth_token_provider is not None:
            if others := [name for name in names if name != _OAUTH + "TOKEN_PROVIDER"]:
                yield f"{', '.join(others)} has no effect beside {_OAUTH}TOKEN_PROVIDER: leave one of them out"
            return
        if self.kafka_sasl_oauth_token_url is None:
            yield f"{_OAUTH}TOKEN_URL is not set, and {mechanism} needs it, or {_OAUTH}TOKEN_PROVIDER"
            return
        if not _can_be_asked(self.kafka_sasl_oauth_token_url):
            yield (
                f"{_OAUTH}TOKEN_URL: allowed is an address like https://login.example/token (or http://), in ASCII, "
                "without a blank, a user and a password"
            )
        if self.kafka_sasl_oauth_client_id is None:
            yield f"{_OAUTH}CLIENT_ID is not set, and {_OAUTH}TOKEN_URL needs it"
        yield from self._one_of(_OAUTH + "CLIENT_SECRET", needed_by=_OAUTH + "TOKEN_URL")

    def _problems_of_tls(self) -> Iterator[str]:
        if self.kafka_ssl_cert_file is None and (names := self._set("KAFKA_SSL_KEY_")):
            yield f"{', '.join(names)} has no effect without KAFKA_SSL_CERT_FILE: set both, or none"
        yield from self._one_of("KAFKA_SSL_KEY_PASSWORD", needed_by="")

    def _one_of(self, name: str, needed_by: str) -> Iterator[str]:
        secret, file = getattr(self, name.lower()), getattr(self, f"{name.lower()}_file")
        if secret is not None and file is not None:
            yield f"{name} and {name}_FILE are both set: leave one of them out"
        if needed_by and secret is None and file is None:
            yield f"neither {name} nor {name}_FILE is set, and {needed_by} needs one of them"


def _can_be_asked(url: str) -> bool:
    """Whether ``urllib`` can send a request to the host in ``url``, which contains no login."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
        host.encode("idna")  # as the DNS look-up does
    except ValueError:
        return False
    return (
        _PRINTABLE.fullmatch(url) is not None
        and _HOST.fullmatch(host) is not None
        and parts.scheme in ("http", "https")
        and "@" not in parts.netloc
        and port != 0
    )


def kafka_security() -> KafkaSecurity:
    """The login parameters of the environment.

    Raises:
        SettingsError: naming each bad setting, its value unless that may be secret, and what is allowed.
    """
    try:
        return KafkaSecuritySettings().security
    except ValidationError as error:
        raise SettingsError("; ".join(_described(item) for item in error.errors())) from None
    except ValueError as error:
        raise SettingsError(str(error)) from None


def _described(item: ErrorDetails) -> str:
    message = item["msg"].removeprefix("Value error, ")
    if not item["loc"]:
        return message
    name = str(item["loc"][0])
    description = KafkaSecuritySettings.model_fields[name].description
    if description is None:  # the value is left out: it may be a secret, also one that was put into the wrong setting
        return f"{name.upper()}: {message}"
    return f"{shown_setting(name.upper(), str(item['input']))}: {message} ({description})"


assert ", ".join(get_args(Mechanism)) == _MECHANISMS
