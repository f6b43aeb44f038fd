"""The output of ``python -m acls`` for the declared rights, and its copy in the docs."""

import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping

import pytest

from acls.acl import Acl, acls_of, principals_of
from acls.kafka_acls_commands import commands
from acls.table import markdown
from libs.events.rights import ANALYTICS, GENERATOR, PROCESSOR, ROLES, SINK, sink_role
from libs.runtime.rights.right import Operation, Resource, Role
from tests.integration.services import ROOT


def acls(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "acls", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def of(
    roles: Iterable[Role], prefix: str, named: Mapping[str, str] | None = None, *, may_create: bool = True
) -> Iterator[Acl]:
    return acls_of(roles, prefix, principals_of(roles, prefix, named or {}), may_create=may_create)


def test_the_table_in_the_docs_equals_the_declared_rights() -> None:
    assert markdown() in (ROOT / "docs" / "security.md").read_text(), (
        "put what `python -m acls --print table` says there"
    )


def test_every_resource_and_principal_has_the_prefix_of_its_pipeline() -> None:
    made = list(of(ROLES, "shop-"))
    assert all(acl.name.startswith("shop-") and acl.principal.startswith("User:shop-") for acl in made)
    assert len(set(made)) == len(made) == sum(len(role.rights) for role in ROLES)
    assert {acl.name for acl in made if acl.prefixed} == {"shop-processor-", "shop-analytics-"}


def test_options_set_principals_and_omit_topic_creation() -> None:
    made = list(of([GENERATOR], "", {"generator": "User:CN=orders"}, may_create=False))
    assert {acl.principal for acl in made} == {"User:CN=orders"}
    assert {acl.operation for acl in made} == {Operation.WRITE, Operation.DESCRIBE_CONFIGS}


def test_commands_for_kafkas_own_tool_are_printed() -> None:
    made = list(commands(of([PROCESSOR], "shop-"), "kafka:9093"))
    common = "kafka-acls.sh --bootstrap-server kafka:9093 --command-config admin.properties --add --allow-principal User:shop-processor"
    assert f"{common} --group shop-processor --resource-pattern-type literal --operation Read" in made
    assert f"{common} --transactional-id shop-processor- --resource-pattern-type prefixed --operation Write" in made
    assert (
        f"{common} --topic shop-orders --resource-pattern-type literal"
        " --operation Read --operation Create --operation DescribeConfigs"
    ) in made


def test_the_sink_role_has_the_groups_of_its_outputs() -> None:
    assert [right for right in SINK.rights if right not in sink_role(["file", "database"]).rights] == []
    assert [right.name for right in sink_role(["database"]).needed if right.resource is Resource.GROUP] == [
        "sink-database"
    ]


def test_create_and_describe_configs_are_optional_rights() -> None:
    assert {right.operation for right in ANALYTICS.rights if right not in ANALYTICS.needed} == {
        Operation.CREATE,
        Operation.DESCRIBE_CONFIGS,
    }


def test_without_a_cluster_the_acls_are_only_printed() -> None:
    printed = acls("--print", "commands", "--role", "sink", "--bootstrap", "kafka:9093", "--topic-prefix", "shop-")
    assert printed.returncode == 0
    assert len(printed.stdout.splitlines()) == 3
    dry = acls("--dry-run", "--role", "sink")
    assert dry.returncode == 0
    assert "User:sink READ TOPIC LITERAL product-metrics" in dry.stdout.splitlines()


@pytest.mark.parametrize("principal", ["cook=User:x", "sink", "sink=x", "sink=User:"])
def test_an_invalid_principal_is_rejected(principal: str) -> None:
    refused = acls("--dry-run", "--principal", principal)
    assert refused.returncode == 2
    assert "is not like processor=User:name" in refused.stderr
