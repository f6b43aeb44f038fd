"""The number of members of a consumer group."""

from libs.runtime.kafka_client.clients import AIOKafkaAdminClient


async def count_members(admin: AIOKafkaAdminClient, group: str) -> tuple[int, int]:
    """The answer's error code, and the number of members; that is 0 with an error, for example while the coordinator is moving.

    One group per request: in a response with several, aiokafka 0.14 decodes all but the first wrongly (it takes version 3, which
    has an additional field after each group, for version 2).
    """
    (answer,) = await admin.describe_consumer_groups([group])
    ((code, _, _, _, _, members, *_),) = answer.groups  # type: ignore[attr-defined]  # aiokafka's base class has no fields
    return code, len(members)
