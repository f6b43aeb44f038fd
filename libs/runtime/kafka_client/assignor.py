"""Assigns the group's partitions to its members."""

from collections.abc import Mapping

from aiokafka.cluster import ClusterMetadata
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata


class _DeclaredPartitions:
    """Replaces the cluster's metadata, of which the assignor uses nothing else."""

    def __init__(self, partitions: int) -> None:
        self._partitions = set(range(partitions))

    def partitions_for_topic(self, _: str) -> set[int]:
        return self._partitions


def range_assignor(partitions: int) -> type[RangePartitionAssignor]:
    """A range assignor for topics with this many partitions.

    aiokafka's own uses the metadata of the group leader's client. Right after a broker's start that may lack the topic.
    Then no member gets a partition, and the group makes no progress until the next metadata refresh (half a minute).
    The number of partitions is known: it was checked when the topics were created or found.
    """

    class DeclaredRangeAssignor(RangePartitionAssignor):
        @classmethod
        def assign(
            cls, _: ClusterMetadata, members: Mapping[str, ConsumerProtocolMemberMetadata]
        ) -> dict[str, ConsumerProtocolMemberAssignment]:
            return super().assign(_DeclaredPartitions(partitions), members)  # type: ignore[arg-type]  # see _DeclaredPartitions

    return DeclaredRangeAssignor
