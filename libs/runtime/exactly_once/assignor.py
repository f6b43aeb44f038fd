"""Which member of the group gets which partitions."""

from collections.abc import Mapping

from aiokafka.cluster import ClusterMetadata
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata


class _Declared:
    """Stands in for the cluster's metadata, of which the assignor asks nothing else."""

    def __init__(self, partitions: int) -> None:
        self._partitions = set(range(partitions))

    def partitions_for_topic(self, _: str) -> set[int]:
        return self._partitions


def range_assignor(partitions: int) -> type[RangePartitionAssignor]:
    """An assignor by range for topics of this many partitions.

    aiokafka's goes by what the leader's client knows of the topic. Right after a broker's start that may be nothing:
    then it assigns nothing, to nobody, and the group stands still until its metadata is refreshed (half a minute).
    The number has been checked when the topics were ensured.
    """

    class DeclaredRangeAssignor(RangePartitionAssignor):
        @classmethod
        def assign(
            cls, _: ClusterMetadata, members: Mapping[str, ConsumerProtocolMemberMetadata]
        ) -> dict[str, ConsumerProtocolMemberAssignment]:
            return super().assign(_Declared(partitions), members)  # type: ignore[arg-type]  # see _Declared

    return DeclaredRangeAssignor
