"""Rights in Kafka: an operation on a topic, a group or a transactional id.

https://kafka.apache.org/39/documentation.html#operations_resources_and_protocols
"""

import shlex
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Self

from libs.runtime.errors import MissingRightError
from libs.runtime.kafka_security.security import Kafka, KafkaAddress, KafkaSecurity


class Operation(IntEnum):
    """Codes of ``org.apache.kafka.common.acl.AclOperation``.

    READ, WRITE and DELETE include DESCRIBE.
    """

    READ = 3
    WRITE = 4
    CREATE = 5
    DELETE = 6
    DESCRIBE = 8
    DESCRIBE_CONFIGS = 10


class Resource(IntEnum):
    """Codes of ``org.apache.kafka.common.resource.ResourceType``."""

    TOPIC = 2
    GROUP = 3
    TRANSACTIONAL_ID = 5

    @property
    def words(self) -> str:
        """The resource's type, for a message."""
        return self.name.lower().replace("_", " ")


@dataclass(frozen=True)
class Right:
    """The right to an operation on a resource.

    Args:
        operation: the operation.
        resource: the type of the resource.
        name: the resource's name, without ``TOPIC_PREFIX``.
        prefixed: the right is for all resources whose names begin with ``name``.
        why: what it is needed for.
        optional: when the program works without it; empty if it never does.
    """

    operation: Operation
    resource: Resource
    name: str
    prefixed: bool = False
    why: str = ""
    optional: str = ""

    def described(self, topic_prefix: str) -> str:
        """As in ``READ on topic 'orders'``."""
        beginning = "s that begin with" if self.prefixed else ""
        return f"{self.operation.name} on {self.resource.words}{beginning} {topic_prefix + self.name!r}"


@dataclass(frozen=True)
class Role:
    """The rights of a program, or of several with the same rights. ``name`` is also the name of its principal."""

    name: str
    programs: str
    rights: tuple[Right, ...]

    @property
    def needed(self) -> tuple[Right, ...]:
        """The rights that are not optional."""
        return tuple(right for right in self.rights if not right.optional)

    def only(self, belongs: Callable[[Right], bool]) -> Self:
        """The same role with those rights only for which ``belongs`` is true."""
        return replace(self, rights=tuple(filter(belongs, self.rights)))


def missing_right_error(
    missing: Iterable[Right], topic_prefix: str, kafka: Kafka, *, role: str = "", advice: str = ""
) -> MissingRightError:
    """The error for rights that this client lacks.

    Without ``advice`` its advice is how to grant the rights of ``role``.
    """
    rights = " and ".join(right.described(topic_prefix) for right in missing)
    return MissingRightError(
        f"{_client(_security(kafka))} lacks a right in Kafka: {rights}",
        advice=advice
        or f"grant it: {granting_command(role, topic_prefix, kafka)} grants all that are needed, docs/security.md lists them",
    )


def granting_command(role: str, topic_prefix: str, kafka: Kafka) -> str:
    """The command that grants this client the rights of ``role``, for a message."""
    command = f"python -m acls --role {role}" + (f" --topic-prefix {topic_prefix}" if topic_prefix else "")
    user = _security(kafka).username
    if user is None:  # the broker makes the principal from a certificate or a token
        return f"`{command} --principal {role}=User:NAME` with the principal that the broker sees instead of User:NAME"
    if user != topic_prefix + role:
        command += f" --principal {shlex.quote(f'{role}=User:{user}')}"
    return f"`{command}`"


def _security(kafka: Kafka) -> KafkaSecurity:
    return kafka.security if isinstance(kafka, KafkaAddress) else KafkaAddress(kafka).security


def _client(security: KafkaSecurity) -> str:
    if security.username is not None:
        return f"user {security.username!r}"
    if security.tls is not None and security.tls.files.cert_file is not None:
        return f"the owner of KAFKA_SSL_CERT_FILE={str(security.tls.files.cert_file)!r}"
    return "this client"
