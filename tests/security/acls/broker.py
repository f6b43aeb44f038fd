"""A broker with TLS, SCRAM and an authorizer that allows nothing without an ACL; users for the roles of some pipelines."""

import asyncio
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from aiokafka.protocol.admin import DeleteAclsRequest

from acls.acl import Acl, acls_of, principals_of
from acls.admin import ALLOW, LITERAL, PREFIXED, create
from acls.scram_users import set_passwords
from libs.events.rights import ROLES
from libs.runtime.rights.right import Right, Role
from libs.runtime.transactions.connection import BrokerConnection
from local.broker import LocalBroker
from local.kafka_files import KafkaFiles, Listener
from local.ports import free_ports
from tests.security.certificates import Authority

PREFIXES = ("rights-", "used-", "first-", "second-", "taken-", "made-")
"""``TOPIC_PREFIX`` of each pipeline that has users."""
PASSWORD = "correct horse"

_SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
_PROPERTIES = {
    "authorizer.class.name": "kafka.security.authorizer.AclAuthorizer",
    "allow.everyone.if.no.acl.found": "false",
    "super.users": "User:ANONYMOUS",  # clients of the plaintext listener, which the tests use to administer the broker
}
_AUTHORIZER_LOG = "log4j.logger.kafka.authorizer.logger=DEBUG\n"
_ALLOWED = re.compile(
    r"Principal = (?P<principal>\S+) is Allowed operation = (?P<operation>\S+) .* on resource = (?P<resource>\w+):LITERAL:(?P<name>\S+) for",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class AclBroker:
    """A broker whose plaintext listener allows everything without a login; the other listener requires one."""

    broker: LocalBroker
    directory: Path
    port: int
    ca_file: Path

    def login(self, prefix: str, role: str) -> dict[str, str]:
        """The settings of a program of ``role``."""
        return {
            "KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{self.port}",
            "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
            "KAFKA_SSL_CA_FILE": str(self.ca_file),
            "KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
            "KAFKA_SASL_USERNAME": prefix + role,
            "KAFKA_SASL_PASSWORD": PASSWORD,
            "TOPIC_PREFIX": prefix,
        }

    async def allow(self, acls: Iterable[Acl]) -> None:
        await create(self.broker.bootstrap_servers, acls)

    async def revoke(self, acls: Iterable[Acl]) -> None:
        connection = await BrokerConnection.open(self.broker.bootstrap_servers)
        try:
            for acl in acls:
                pattern = PREFIXED if acl.prefixed else LITERAL
                answer = await connection.ask_controller(
                    DeleteAclsRequest(acl.resource, acl.name, pattern, acl.principal, "*", acl.operation, ALLOW)
                )
                ((code, message, deleted),) = answer.filter_responses
                assert (code, len(deleted)) == (0, 1), (acl, code, message, deleted)
        finally:
            await connection.close()

    def operations_used(self) -> set[tuple[str, str, str, str]]:
        """(principal, operation, resource type, resource name) of each request that was allowed so far."""
        log = (self.directory / "kafka.log").read_text(errors="replace")
        return {
            (found["principal"], _plain(found["operation"]), _plain(found["resource"]), found["name"])
            for found in _ALLOWED.finditer(log)
        }


def _plain(name: str) -> str:
    return name.replace("_", "").lower()


def acls_for(prefix: str, *roles: Role, only: Iterable[Right] | None = None, may_create: bool = True) -> list[Acl]:
    """The ACLs of ``roles`` in one pipeline."""
    chosen = [role.only(lambda right: only is None or right in only) for role in roles or ROLES]
    return list(acls_of(chosen, prefix, principals_of(chosen, prefix, {}), may_create=may_create))


@contextmanager
def acl_broker(directory: Path) -> Iterator[AclBroker]:
    """Starts it."""
    (port,) = free_ports(1)
    authority = Authority(directory)
    secured = Listener(
        "SECURED",
        port,
        "SASL_SSL",
        {
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(authority.issue("broker").both),
            "sasl.enabled.mechanisms": "SCRAM-SHA-512",
            "scram-sha-512.sasl.jaas.config": _SCRAM,
        },
    )
    with _LoggingBroker(directory, secured) as broker:
        users = {prefix + role.name: PASSWORD for prefix in PREFIXES for role in ROLES}
        asyncio.run(set_passwords(broker.bootstrap_servers, users))
        yield AclBroker(broker, directory, port, authority.file)


class _LoggingFiles(KafkaFiles):
    def write(self) -> None:
        super().write()
        with (self.directory / "log4j.properties").open("a") as properties:
            properties.write(_AUTHORIZER_LOG)


class _LoggingBroker(LocalBroker):
    """Logs each request that it allows."""

    def __init__(self, directory: Path, listener: Listener) -> None:
        super().__init__(directory, more_listeners=(listener,), more_properties=_PROPERTIES)
        self._files = _LoggingFiles(**vars(self._files))
