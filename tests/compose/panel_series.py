"""Compares the series that a panel's query returns in a complete pipeline with the expected ones."""

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import product

from libs.events.dead_letters import Reason
from tests.compose.conftest import REPLICAS
from tests.compose.prometheus import Series
from tests.compose.stack_checks import PARTITIONS
from tests.monitoring.queries import OFFERED, PanelQuery, metrics_of, with_all_selected
from tests.unit.test_metrics import documented_metrics

_ABORTED = {"fenced", "timed_out", "failed"}
_ANYWHERE = {
    "partition": {str(number) for number in range(PARTITIONS)},
    "product_id": {f"prod-{number}" for number in range(1, 6)},
    "consumergroup": {"processor", "analytics", "sink"},
    "output": {"file"},
}
_IN_PANEL: dict[tuple[str, str], dict[str, set[str]]] = {
    ("pipeline", "Dead letters by reason"): {"reason": {*Reason}},
    ("pipeline", "Aborted transactions"): {"outcome": _ABORTED},
    ("internals", "Transactions by outcome"): {"outcome": _ABORTED | {"committed"}},
    ("kafka", "Members"): {"consumergroup": {"processor", "analytics"}},
    ("kafka", "Written by topic"): {"topic": OFFERED["topic"]},
    ("kafka", "End offsets"): {"topic": OFFERED["topic"]},
    ("kafka", "Kept"): {"topic": OFFERED["topic"]},
}


def problems_of(query: PanelQuery, found: Sequence[Series]) -> Iterator[str]:
    """The problems of the series that ``query`` has returned."""
    if not any(math.isfinite(series.value) for series in found):
        yield "no number"
    names = sorted(query.labels)
    found_labels = [tuple(series.labels.get(name, "") for name in names) for series in found]
    if not all(all(values) for values in found_labels):
        yield f"a series without one of its legend's labels {names}: {found_labels}"
    if len(set(found_labels)) < len(found_labels):
        yield f"two series of one name {names}: {found_labels}"
    known = _known(query)
    for name, expected in known.items():
        if (values := {values[names.index(name)] for values in found_labels}) != expected:
            yield f"{name} is one of {values}, not of {expected}"
    if known.keys() == query.labels and set(found_labels) != set(product(*(known[name] for name in names))):
        yield f"not every combination of {names}: {found_labels}"
    if "instance" in query.labels:
        services = _services(query)
        replicas = Counter(series.labels.get("job") or "".join(services) for series in found)
        if replicas != {service: REPLICAS[service] for service in services}:
            yield f"not one series for each replica: {replicas}"


def _known(query: PanelQuery) -> dict[str, set[str]]:
    """The expected values of the labels in the legend, as far as they are known."""
    values = _ANYWHERE | {"job": _services(query)} | _IN_PANEL.get((query.dashboard, query.panel), {})
    return {name: values[name] for name in query.labels & values.keys()}


def _services(query: PanelQuery) -> set[str]:
    """The services that have the query's metrics, by docs/metrics.md."""
    table = documented_metrics()
    names = {re.sub("_(bucket|count|sum)$", "", name) for name in metrics_of(with_all_selected(query.expr))}
    return {service for name in names & table.keys() for service in table[name][2]}
