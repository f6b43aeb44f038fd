"""Compares the settings of topics that exist with what the guarantees need."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple


class TopicSettings(NamedTuple):
    """A topic as the broker describes it: its replication factor, and its configuration with the broker's defaults."""

    replicas: int
    config: Mapping[str, str]


class Seen(NamedTuple):
    """What a rule decides by: the setting's value, its topic, and all topics that were looked at, without prefix."""

    value: str
    topic: TopicSettings
    topics: Mapping[str, TopicSettings]


@dataclass(frozen=True)
class Rule:
    """What one setting of a topic has to be.

    Args:
        setting: its name in Kafka.
        wanted: the value to set, or in words which ones are allowed.
        holds: whether what was seen is allowed; it may raise ``ValueError`` or ``KeyError`` for what it cannot judge.
        otherwise: what follows if it is not.
        refused: whether the service must not start then; it is a warning otherwise.
    """

    setting: str
    wanted: str
    holds: Callable[[Seen], bool]
    otherwise: str
    refused: bool = False


class Difference(NamedTuple):
    """A setting that breaks a rule; ``topic`` is the full name."""

    topic: str
    value: str
    rule: Rule

    def __str__(self) -> str:
        rule = self.rule
        return f"topic {self.topic!r} has {rule.setting}={self.value}, it must be {rule.wanted}: {rule.otherwise}"


@dataclass(frozen=True)
class Cluster:
    """What a service learns at its start.

    ``topics`` are those that it asked for, by their names without prefix; none if this client may not see their settings.
    """

    cluster_id: str
    topics: Mapping[str, TopicSettings]

    def limit_bytes(self, topic: str, declared_bytes: int) -> int:
        """The largest batch of records that ``topic`` takes; ``declared_bytes`` if nobody could tell."""
        found = self.topics.get(topic)
        return int(found.config.get("max.message.bytes", declared_bytes)) if found else declared_bytes


def differences(
    prefix: str, rules: Iterable[tuple[str, Sequence[Rule]]], topics: Mapping[str, TopicSettings]
) -> list[Difference]:
    """Every broken rule, by topic in the order of ``rules``.

    A setting that the broker does not know is passed over: settings come and go with Kafka's versions.

    Args:
        prefix: stands before each topic's name.
        rules: those of each topic, by its name without prefix.
        topics: what the broker says of them, by the same names.
    """
    return [
        Difference(prefix + name, topics[name].config[rule.setting], rule)
        for name, of_topic in rules
        if name in topics
        for rule in of_topic
        if rule.setting in topics[name].config
        and not _holds(rule, Seen(topics[name].config[rule.setting], topics[name], topics))
    ]


def _holds(rule: Rule, seen: Seen) -> bool:
    try:
        return rule.holds(seen)
    except (ValueError, KeyError):  # not a number, or another topic that nobody has looked at
        return True
