"""A broker with a listener for each way to log in, in addition to the plaintext one."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from acls.scram_users import set_passwords
from local.broker import LocalBroker
from local.kafka_files import Listener
from local.ports import free_ports
from tests.security.certificates import Authority, Issued

USER, PASSWORD = "pipeline", "correct horse"

# The broker closes a SASL connection after this time, unless the client re-authenticates.
REAUTH_MS = 2000
_SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
_PLAIN = f'org.apache.kafka.common.security.plain.PlainLoginModule required user_{USER}="{PASSWORD}";'
_OAUTH = (
    "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required"
    ' unsecuredLoginStringClaim_sub="broker";'
)


@dataclass(frozen=True)
class SecuredBroker:
    """The ports of the listeners by name, and the clients' settings for them."""

    broker: LocalBroker
    ports: dict[str, int]
    authority: Authority
    client: Issued

    def at(self, listener: str, host: str = "127.0.0.1") -> str:
        return f"{host}:{self.ports[listener]}"

    def tls(self, protocol: str = "SSL") -> dict[str, str]:
        return {"KAFKA_SECURITY_PROTOCOL": protocol, "KAFKA_SSL_CA_FILE": str(self.authority.file)}

    def mutual_tls(self) -> dict[str, str]:
        return self.tls() | {
            "KAFKA_SSL_CERT_FILE": str(self.client.certificate),
            "KAFKA_SSL_KEY_FILE": str(self.client.key),
        }

    def scram(self) -> dict[str, str]:
        return self.tls("SASL_SSL") | {
            "KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
            "KAFKA_SASL_USERNAME": USER,
            "KAFKA_SASL_PASSWORD": PASSWORD,
        }

    def plain(self) -> dict[str, str]:
        return self.scram() | {"KAFKA_SASL_MECHANISM": "PLAIN"}


@contextmanager
def secured_broker(directory: Path) -> Iterator[SecuredBroker]:
    """Starts it, with a user for SCRAM."""
    authority = Authority(directory)
    server = authority.issue("broker")
    names = ("SCRAM", "PLAIN", "MUTUAL", "OAUTH", "EXPIRED", "RENAMED")
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    tls = _keystore(server)
    validator = "org.apache.kafka.common.security.oauthbearer.internals.unsecured"
    listeners = (
        Listener("SCRAM", ports["SCRAM"], "SASL_SSL", tls | _sasl("SCRAM-SHA-512", _SCRAM)),
        Listener("PLAIN", ports["PLAIN"], "SASL_SSL", tls | _sasl("PLAIN", _PLAIN)),
        Listener("MUTUAL", ports["MUTUAL"], "SSL", tls | _client_certificates(authority)),
        Listener(
            "OAUTH",
            ports["OAUTH"],
            "SASL_PLAINTEXT",
            _sasl("OAUTHBEARER", _OAUTH)
            | {
                "oauthbearer.sasl.server.callback.handler.class": f"{validator}.OAuthBearerUnsecuredValidatorCallbackHandler"
            },
        ),
        Listener("EXPIRED", ports["EXPIRED"], "SSL", _keystore(authority.issue("expired", expired=True))),
        Listener("RENAMED", ports["RENAMED"], "SSL", _keystore(authority.issue("renamed", ["kafka.example"]))),
    )
    with LocalBroker(directory / "broker", more_listeners=listeners) as broker:
        set_scram_password(broker, PASSWORD)
        yield SecuredBroker(broker, ports, authority, authority.issue("client", ["client.example"]))


def set_scram_password(broker: LocalBroker, password: str) -> None:
    """Set the password of ``USER`` for SCRAM-SHA-512, without a restart of the broker."""
    asyncio.run(set_passwords(broker.bootstrap_servers, {USER: password}))


def _keystore(issued: Issued) -> dict[str, str]:
    return {"ssl.keystore.type": "PEM", "ssl.keystore.location": str(issued.both)}


def _client_certificates(authority: Authority) -> dict[str, str]:
    return {
        "ssl.client.auth": "required",
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(authority.file),
    }


def _sasl(mechanism: str, jaas: str) -> dict[str, str]:
    own = mechanism.lower()
    return {
        "sasl.enabled.mechanisms": mechanism,
        f"{own}.sasl.jaas.config": jaas,
        f"{own}.connections.max.reauth.ms": str(REAUTH_MS),
    }
