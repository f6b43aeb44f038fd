"""The login parameters, as arguments of aiokafka's clients."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from aiokafka.abc import AbstractTokenProvider

from libs.runtime.kafka_security.oauth import ClientCredentials
from libs.runtime.kafka_security.tls import ReloadingTls
from libs.runtime.secret import Secret

Protocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
Mechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"]


@dataclass(frozen=True)
class KafkaSecurity:
    """A client's credentials, and its requirements for a broker."""

    protocol: Protocol = "PLAINTEXT"
    mechanism: Mechanism | None = None
    username: str | None = None
    password: Secret | None = None
    tls: ReloadingTls | None = None
    tokens: AbstractTokenProvider | None = None

    def client_arguments(self) -> dict[str, Any]:
        """Keyword arguments of aiokafka's clients.

        Password and TLS context are passed unresolved: ``connecting.connect`` resolves them for each connection.
        """
        arguments: dict[str, Any] = {"security_protocol": self.protocol}
        if self.tls is not None:
            arguments["ssl_context"] = self.tls
        if self.mechanism is not None:
            arguments["sasl_mechanism"] = self.mechanism
        if self.password is not None:
            arguments |= {"sasl_plain_username": self.username, "sasl_plain_password": self.password}
        if self.tokens is not None:
            arguments["sasl_oauth_token_provider"] = self.tokens
        return arguments

    def risks(self) -> Iterator[str]:
        """What an attacker on the network between client and broker could do with these settings."""
        if self.protocol == "SASL_PLAINTEXT" and self.mechanism in ("PLAIN", "OAUTHBEARER"):
            yield f"{self.mechanism} over SASL_PLAINTEXT sends the password or token in the clear; SASL_SSL does not"
        if isinstance(self.tokens, ClientCredentials) and self.tokens.url.startswith("http:"):
            yield f"the client's secret goes to {self.tokens.url} in the clear; https:// does not"
        if self.tls is not None and not self.tls.files.check_hostname:
            yield "KAFKA_SSL_INSECURE_SKIP_HOSTNAME_CHECK=true: any holder of a certificate from a trusted CA can pose as a broker"


@dataclass(frozen=True)
class KafkaAddress:
    """A cluster's bootstrap servers, and how to log in to it; ``str()`` gives the bootstrap servers."""

    bootstrap_servers: str
    security: KafkaSecurity = KafkaSecurity()

    def __str__(self) -> str:
        return self.bootstrap_servers


Kafka = KafkaAddress | str
"""A cluster. Bare bootstrap servers mean one without TLS and login."""


def client_arguments(kafka: Kafka) -> dict[str, Any]:
    """The keyword arguments of an aiokafka client for ``kafka``: bootstrap servers and login."""
    address = KafkaAddress(kafka) if isinstance(kafka, str) else kafka
    return {"bootstrap_servers": address.bootstrap_servers, **address.security.client_arguments()}
