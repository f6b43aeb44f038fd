"""The counters and gauges of a registry, for the log."""

from prometheus_client import CollectorRegistry, Gauge

_PREFIX = "pipeline_"


def totals(registry: CollectorRegistry) -> dict[str, float]:
    """Every counter above 0, by a short name for the log; those by product are left out, as there are too many."""
    return {
        "_".join([sample.name.removeprefix(_PREFIX).removesuffix("_total"), *sample.labels.values()]): sample.value
        for family in registry.collect()
        if family.type == "counter" and family.name.startswith(_PREFIX)
        for sample in family.samples
        if sample.value and "product_id" not in sample.labels
    }


def values_of(gauge: Gauge) -> list[float]:
    """The value of each of a gauge's series."""
    return [sample.value for family in gauge.collect() for sample in family.samples]
