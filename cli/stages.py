"""The stages of a pipeline as Kafka reports them: replicas in the consumer group, and lag."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from rich.table import Table

from libs.runtime.kafka_client.clients import Kafka
from watch.kafka_view import KafkaView
from watch.observation import Observation
from watch.state import READERS, WITH_MEMBERS, lags_of


@dataclass(frozen=True)
class Stage:
    """A service that reads a topic.

    ``replicas`` is the number of members of its consumer group, None for the sink, which has none. ``lag`` is in records.
    """

    name: str
    replicas: int | None
    lag: int


async def look_at_stages(kafka: Kafka, topic_prefix: str) -> list[Stage]:
    """The stages' present state; raises TopicsMissingError where there is no pipeline."""
    async with KafkaView(kafka, topic_prefix, {}) as view:
        return stages_of(await view.look())


def stages_of(seen: Observation) -> list[Stage]:
    """The stages, upstream first."""
    return [
        Stage(name, seen.members[name] if name in WITH_MEMBERS else None, sum(lags_of(seen, topic).values()))
        for topic, name in READERS.items()
    ]


def is_running(stages: Sequence[Stage]) -> bool:
    """Whether each stage with a consumer group has a member."""
    return all(stage.replicas for stage in stages if stage.replicas is not None)


def stages_json(stages: Sequence[Stage]) -> list[dict[str, object]]:
    """Each with ``name``, ``replicas`` and ``lag``."""
    return [asdict(stage) for stage in stages]


def stages_table(stages: Sequence[Stage], title: str) -> Table:
    """One row for each stage."""
    table = Table(title=title, title_justify="left")
    table.add_column("stage")
    table.add_column("replicas", justify="right")
    table.add_column("lag, records", justify="right")
    for stage in stages:
        table.add_row(stage.name, "" if stage.replicas is None else str(stage.replicas), f"{stage.lag:,}")
    return table
