"""Creates ACLs in a cluster, for which aiokafka 0.14 has requests but no client."""

from collections.abc import Iterable

from aiokafka.errors import KafkaError, SecurityDisabled, for_code
from aiokafka.protocol.admin import CreateAclsRequest

from acls.acl import Acl
from acls.superuser import check_may_alter
from libs.runtime.errors import PipelineError
from libs.runtime.kafka_client.clients import Kafka
from libs.runtime.transactions.connection import BrokerConnection

# Codes of org.apache.kafka.common.resource.PatternType and org.apache.kafka.common.acl.AclPermissionType.
LITERAL, PREFIXED = 3, 4
ALLOW = 3


async def create(kafka: Kafka, acls: Iterable[Acl]) -> None:
    """Create ``acls``; existing ones are kept.

    Raises:
        MissingRightError: this client is not allowed to.
        PipelineError: the cluster has no authorizer, or rejects an ACL.
        KafkaError: no broker can be reached.
    """
    connection = await BrokerConnection.open(kafka)
    try:
        for acl in acls:
            answer = await connection.ask_controller(_request(acl))
            ((code, message),) = answer.creation_responses
            if code:
                error = for_code(code)
                check_may_alter(error)
                raise _refusal(error, message or "", acl)
    finally:
        await connection.close()


def _request(acl: Acl) -> CreateAclsRequest:
    pattern = PREFIXED if acl.prefixed else LITERAL
    return CreateAclsRequest(acl.resource, acl.name, pattern, acl.principal, "*", acl.operation, ALLOW)


def _refusal(error: type[KafkaError], message: str, acl: Acl) -> PipelineError:
    if error is SecurityDisabled:
        return PipelineError(
            f"the cluster has no ACLs: {message}", advice="set authorizer.class.name in the brokers' configuration"
        )
    return PipelineError(f"the cluster refuses the ACL {acl}: {error.__name__} {message}".rstrip())
