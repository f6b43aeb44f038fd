"""A topic as a pipeline declares it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from libs.runtime.topics.rules import Rule


@dataclass(frozen=True)
class Topic:
    """A topic's name, without the ``TOPIC_PREFIX`` setting, and what it is like.

    ``config`` is what differs from the broker's defaults when the topic is created; ``rules`` are what a topic that exists
    already is checked against.
    """

    name: str
    config: Mapping[str, str] = field(default_factory=dict)
    rules: Sequence[Rule] = ()
