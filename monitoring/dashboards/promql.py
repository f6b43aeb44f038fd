"""PromQL expressions that several panels share."""

_READ_TOPICS = "orders|processed-orders|product-metrics"


def quantile(share: float, histogram: str, by: str = "", span: str = "1m") -> str:
    """The quantile ``share`` of the observations in ``span``."""
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({share}, sum by ({labels}) (rate({histogram}[{span}])))"


def per_minute(counter: str) -> str:
    """The increase of ``counter`` in a minute, by product.

    Not by `increase`, which extrapolates: sums of money that change once a minute have to be exact. A series that is
    younger than a minute began at 0, also one that was larger a minute ago; one that Prometheus did not get a minute ago
    has no increase.
    """
    is_young = "up offset 1m == 1 or time() - process_start_time_seconds < 60"
    began_at_zero = f"{counter} * 0 and on (job, instance) ({is_young})"
    return f"sum by (product_id) ({counter} - ({counter} offset 1m <= {counter} or {began_at_zero}))"


def lag(group: str) -> str:
    """The lag of the groups that the regular expression ``group`` matches, whatever their ``TOPIC_PREFIX``.

    The prefix need not end with a separator. The topics are those of the alert LagGrowing: on a shared cluster another program's
    group may have such a name, too.
    """
    return f'sum(consumergroup_topic:kafka_lag:sum{{consumergroup=~".*{group}", topic=~".*({_READ_TOPICS})"}})'
