"""Pieces of PromQL that more than one panel needs."""


def quantile(share: float, histogram: str, by: str = "", span: str = "1m") -> str:
    """The value that ``share`` of the observations in ``span`` stay below."""
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({share}, sum by ({labels}) (rate({histogram}[{span}])))"


def per_minute(counter: str) -> str:
    """What ``counter`` grew by in a minute, by product.

    Not `increase`: it estimates what lies between samples, and money that moves once a minute is to be exact. A series
    that is younger than a minute began at 0.
    """
    return f"sum by (product_id) (clamp_min({counter} - ({counter} offset 1m or {counter} * 0), 0))"


def lag(group: str) -> str:
    """Records that the group has still to read, whatever its ``TOPIC_PREFIX``."""
    return f'sum(consumergroup_topic:kafka_lag:sum{{consumergroup=~"(.*-)?{group}"}})'
