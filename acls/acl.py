"""The Kafka ACLs for the rights of the roles."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from libs.runtime.rights.right import Operation, Resource, Role


@dataclass(frozen=True)
class Acl:
    """Allows ``principal`` (``User:sink``) an operation from every host; ``name`` is the full name, with ``TOPIC_PREFIX``."""

    principal: str
    operation: Operation
    resource: Resource
    name: str
    prefixed: bool

    def __str__(self) -> str:
        pattern = "PREFIXED" if self.prefixed else "LITERAL"
        return f"{self.principal} {self.operation.name} {self.resource.name} {pattern} {self.name}"


def principals_of(roles: Iterable[Role], topic_prefix: str, named: Mapping[str, str]) -> dict[str, str]:
    """The principal of each role: the one in ``named``, or else ``User:`` with the prefix and the role's name."""
    return {role.name: named.get(role.name, f"User:{topic_prefix}{role.name}") for role in roles}


def acls_of(
    roles: Iterable[Role], topic_prefix: str, principals: Mapping[str, str], *, may_create: bool
) -> Iterator[Acl]:
    """The ACLs of ``roles``.

    Args:
        roles: the roles.
        topic_prefix: the pipeline's ``TOPIC_PREFIX``.
        principals: the principals by role name.
        may_create: whether they may create topics.
    """
    for role in roles:
        for right in role.rights:
            if may_create or right.operation is not Operation.CREATE:
                yield Acl(
                    principals[role.name], right.operation, right.resource, topic_prefix + right.name, right.prefixed
                )
