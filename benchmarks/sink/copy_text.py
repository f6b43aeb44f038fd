"""Renders rows in the text format of PostgreSQL's COPY: four times as fast as passing values to the driver one by one.

https://www.postgresql.org/docs/current/sql-copy.html (Text Format)
"""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from libs.events.product_metrics import MetricRow

K = TypeVar("K", int, str)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ESCAPED = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


def copy_text(rows: Iterable[MetricRow]) -> bytes:
    r"""``rows`` for ``copy product_metrics from stdin``; cents become dollars by a decimal exponent, which is exact.

    >>> copy_text([MetricRow(60, 120, "a", 2, 1050, 525)])
    b'1970-01-01T00:01:00+00:00\t1970-01-01T00:02:00+00:00\ta\t2\t1050e-2\t525e-2\n'
    """
    times, ids = _Rendered(_time), _Rendered(_escaped)
    return "".join(
        [
            f"{times[start_s]}\t{times[end_s]}\t{ids[product_id]}\t{count}\t{revenue}e-2\t{average}e-2\n"
            for start_s, end_s, product_id, count, revenue, average in rows
        ]
    ).encode()


class _Rendered(dict[K, str]):
    """Caches the texts of repeated values."""

    def __init__(self, render: Callable[[K], str]) -> None:
        super().__init__()
        self._render: Callable[[K], str] = render

    def __missing__(self, value: K) -> str:
        text = self[value] = self._render(value)
        return text


def _time(epoch_s: int) -> str:
    return (_EPOCH + timedelta(seconds=epoch_s)).isoformat()


def _escaped(text: str) -> str:
    return text.translate(_ESCAPED)
