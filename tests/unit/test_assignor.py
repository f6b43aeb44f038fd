"""Partitions are assigned by their declared number, regardless of the group leader's metadata."""

from aiokafka.cluster import ClusterMetadata
from aiokafka.coordinator.assignors.range import RangePartitionAssignor

from libs.runtime.kafka_client.assignor import range_assignor


def test_a_leader_without_metadata_of_the_topic_assigns_its_partitions() -> None:
    members = {name: RangePartitionAssignor.metadata(["orders"]) for name in ("a", "b", "c", "d")}
    assignments = range_assignor(6).assign(ClusterMetadata(), members)
    shares = [{partition.partition for partition in each.partitions()} for each in assignments.values()]
    assert [len(share) for share in shares] == [2, 2, 1, 1]
    assert set.union(*shares) == set(range(6))
