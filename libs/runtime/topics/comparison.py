"""Reads the settings of topics, and reports those that violate a rule."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import structlog
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import ClusterAuthorizationFailedError, TopicAuthorizationFailedError, for_code

from libs.runtime.errors import TopicMismatchError
from libs.runtime.kafka_client.clients import AIOKafkaAdminClient
from libs.runtime.topics.rules import Difference, Rule, TopicSettings, differences

log = structlog.get_logger()


class RuledTopic(Protocol):
    """A topic's name without prefix, and the rules for its settings."""

    @property
    def name(self) -> str: ...
    @property
    def rules(self) -> Sequence[Rule]: ...


async def compare_settings(
    admin: AIOKafkaAdminClient, prefix: str, specs: Iterable[RuledTopic], replicas: Mapping[str, int]
) -> Mapping[str, TopicSettings]:
    """Check topics against their rules. A violation is a warning, or an error for a rule that is ``refused``.

    Args:
        admin: a started client.
        prefix: put before each topic's name.
        specs: the topics, all of which exist.
        replicas: their replication factors, by their names without prefix.

    Returns:
        The topics' settings, by their names without prefix; empty if this client may not read them.

    Raises:
        TopicMismatchError: the service must not start.
    """
    rules = {spec.name: spec.rules for spec in specs}
    try:
        configs = await topic_configs(admin, [prefix + name for name in rules])
    except (TopicAuthorizationFailedError, ClusterAuthorizationFailedError) as error:
        log.warning(
            "the settings of topics could not be compared",
            error=f"DESCRIBE_CONFIGS is not allowed: {error}",
            advice="allow this client DESCRIBE_CONFIGS on each of its topics",
        )
        return {}
    topics = {name: TopicSettings(replicas[name], configs[prefix + name]) for name in rules}
    found = differences(prefix, rules.items(), topics)
    for each in found:
        tell = log.error if each.rule.refused else log.warning
        tell(
            "a topic's setting breaks a guarantee",
            topic=each.topic,
            setting=each.rule.setting,
            value=each.value,
            wanted=each.rule.wanted,
            otherwise=each.rule.otherwise,
        )
    if refused := [each for each in found if each.rule.refused]:
        raise TopicMismatchError(
            "; ".join(map(str, refused)), advice=f"{_alter(refused[0])}, or use another TOPIC_PREFIX"
        )
    return topics


def _alter(difference: Difference) -> str:
    return (
        f"kafka-configs.sh --bootstrap-server ... --alter --entity-type topics --entity-name {difference.topic}"
        f" --add-config {difference.rule.setting}=..."
    )


async def topic_configs(admin: AIOKafkaAdminClient, names: Iterable[str]) -> dict[str, dict[str, str]]:
    """Every setting of each topic, including the broker's defaults, by the topic's full name.

    Raises:
        KafkaError: the broker rejects the request.
    """
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
    (response,) = await admin.describe_configs(resources)
    found: dict[str, dict[str, str]] = {}
    for code, message, _, name, entries in response.resources:  # type: ignore[attr-defined]  # no fields in the base class
        if code:
            raise for_code(code)(f"topic {name!r}: {message}")
        found[name] = {setting: value for setting, value, *_ in entries if value is not None}
    return found
