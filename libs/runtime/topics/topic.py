"""A topic as a pipeline declares it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from libs.runtime.topics.rules import Rule


@dataclass(frozen=True)
class Topic:
    """A topic's name, without the ``TOPIC_PREFIX`` setting, and its configuration.

    ``config`` has the settings for its creation that differ from the broker's defaults; an existing topic is checked against
    ``rules``.
    """

    name: str
    config: Mapping[str, str] = field(default_factory=dict)
    rules: Sequence[Rule] = ()
