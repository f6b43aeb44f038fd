"""How large what is derived from a record of ``orders`` may be."""

from typing import NamedTuple

from libs.events.topic_rules import LARGEST_BATCH_BYTES
from libs.events.topics import DERIVED_LIMIT_BYTES, LATE_ORDERS, ORDERS_DLQ, PROCESSED_ORDERS
from libs.runtime.topics.rules import Cluster
from libs.runtime.topics.topic import Topic

_WINDOW_HEADERS_BYTES = 100  # what a late order has more than a processed one


class DerivedLimits(NamedTuple):
    """The largest batches of a single record, in bytes.

    ``processed_order`` is such that the order also fits into ``late-orders``, where it may go next.
    """

    processed_order: int
    late_order: int
    dead_letter: int


def derived_limits(cluster: Cluster) -> DerivedLimits:
    """The limits of the topics as they are; those declared where nobody could tell.

    A limit that does not even take the services' own batches is a mistake, and no reason to refuse orders: the warning at
    the start says what to do.
    """

    def limit(topic: Topic) -> int:
        return max(cluster.limit_bytes(topic.name, DERIVED_LIMIT_BYTES), LARGEST_BATCH_BYTES)

    late = limit(LATE_ORDERS)
    return DerivedLimits(min(limit(PROCESSED_ORDERS), late - _WINDOW_HEADERS_BYTES), late, limit(ORDERS_DLQ))


DECLARED_LIMITS = derived_limits(Cluster("", {}))
"""Those of topics that the services have made."""
