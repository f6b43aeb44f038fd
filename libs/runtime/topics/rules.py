"""Checks the settings of existing topics against the rules that the guarantees need."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple


class TopicSettings(NamedTuple):
    """A topic's replication factor, and its configuration including the broker's defaults."""

    replicas: int
    config: Mapping[str, str]


class RuleInput(NamedTuple):
    """The input of a rule: the setting's value, its topic, and all topics that were described, without prefix."""

    value: str
    topic: TopicSettings
    topics: Mapping[str, TopicSettings]


@dataclass(frozen=True)
class Rule:
    """A rule for one setting of a topic.

    Args:
        setting: the setting's name in Kafka.
        wanted: the value to set, or a description of the allowed ones.
        holds: whether the value is allowed; may raise ``ValueError`` or ``KeyError`` for a value that it cannot check.
        otherwise: the consequence of a violation.
        refused: whether a violation prevents the start of the service; otherwise it is a warning.
    """

    setting: str
    wanted: str
    holds: Callable[[RuleInput], bool]
    otherwise: str
    refused: bool = False


class Difference(NamedTuple):
    """A setting that violates a rule; ``topic`` is the full name."""

    topic: str
    value: str
    rule: Rule

    def __str__(self) -> str:
        rule = self.rule
        return f"topic {self.topic!r} has {rule.setting}={self.value}, it must be {rule.wanted}: {rule.otherwise}"


@dataclass(frozen=True)
class Cluster:
    """What a service learns about the cluster at its start.

    ``topics`` are the topics of the service, by their names without prefix; empty if this client may not read their settings.
    """

    cluster_id: str
    topics: Mapping[str, TopicSettings]

    def limit_bytes(self, topic: str, declared_bytes: int) -> int:
        """The largest record batch that ``topic`` accepts; ``declared_bytes`` if its settings are unknown."""
        found = self.topics.get(topic)
        return int(found.config.get("max.message.bytes", declared_bytes)) if found else declared_bytes


def differences(
    prefix: str, rules: Iterable[tuple[str, Sequence[Rule]]], topics: Mapping[str, TopicSettings]
) -> list[Difference]:
    """Every violation, by topic in the order of ``rules``.

    Settings that the broker does not have are skipped: they vary with Kafka's version.

    Args:
        prefix: put before each topic's name.
        rules: the rules of each topic, by its name without prefix.
        topics: their current settings, by the same names.
    """
    return [
        Difference(prefix + name, topics[name].config[rule.setting], rule)
        for name, of_topic in rules
        if name in topics
        for rule in of_topic
        if rule.setting in topics[name].config
        and not _holds(rule, RuleInput(topics[name].config[rule.setting], topics[name], topics))
    ]


def _holds(rule: Rule, seen: RuleInput) -> bool:
    try:
        return rule.holds(seen)
    except (ValueError, KeyError):  # not a number, or it depends on a topic that was not described
        return True
