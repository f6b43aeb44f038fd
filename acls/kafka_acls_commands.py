"""Commands of Kafka's own ``kafka-acls.sh`` that create the ACLs."""

import shlex
from collections.abc import Iterable, Iterator

from acls.acl import Acl

_FLAGS = {"TOPIC": "--topic", "GROUP": "--group", "TRANSACTIONAL_ID": "--transactional-id"}
_OPERATIONS = {"DESCRIBE_CONFIGS": "DescribeConfigs"}


def commands(acls: Iterable[Acl], bootstrap: str) -> Iterator[str]:
    """One command for each resource and principal, with all operations on it."""
    grouped: dict[tuple[str, ...], list[str]] = {}
    for acl in acls:
        target = (acl.principal, _FLAGS[acl.resource.name], acl.name, "prefixed" if acl.prefixed else "literal")
        grouped.setdefault(target, []).append(_OPERATIONS.get(acl.operation.name, acl.operation.name.capitalize()))
    for (principal, flag, name, pattern), operations in grouped.items():
        words = ["kafka-acls.sh", "--bootstrap-server", bootstrap, "--command-config", "admin.properties", "--add"]
        words += ["--allow-principal", principal, flag, name, "--resource-pattern-type", pattern]
        for operation in operations:
            words += ["--operation", operation]
        yield shlex.join(words)
