"""The largest sizes of records that are derived from a record of ``orders``."""

from typing import NamedTuple

from libs.events.topic_rules import LARGEST_BATCH_BYTES
from libs.events.topics import DERIVED_LIMIT_BYTES, LATE_ORDERS, ORDERS_DLQ, PROCESSED_ORDERS
from libs.runtime.topics.rules import Cluster
from libs.runtime.topics.topic import Topic

_WINDOW_HEADERS_BYTES = 100  # the additional headers of a late order


class DerivedLimits(NamedTuple):
    """The largest batches of a single record, in bytes.

    An order within ``processed_order`` also fits into ``late-orders``, where it may be copied.
    """

    processed_order: int
    late_order: int
    dead_letter: int


def derived_limits(cluster: Cluster) -> DerivedLimits:
    """The limits of the existing topics; the declared ones where the broker does not tell them.

    A limit that is smaller than the services' own batches is a misconfiguration, not a reason to reject orders. A warning
    at the start says how to fix it.
    """

    def limit(topic: Topic) -> int:
        return max(cluster.limit_bytes(topic.name, DERIVED_LIMIT_BYTES), LARGEST_BATCH_BYTES)

    late = limit(LATE_ORDERS)
    return DerivedLimits(min(limit(PROCESSED_ORDERS), late - _WINDOW_HEADERS_BYTES), late, limit(ORDERS_DLQ))


DECLARED_LIMITS = derived_limits(Cluster("", {}))
"""Those of topics that the services have made."""
