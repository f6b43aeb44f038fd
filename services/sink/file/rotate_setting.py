"""SINK_ROTATE: when the metrics file is finished and a new one begins."""

import re
from dataclasses import dataclass

from services.sink.file.finished_files import Span

DAY_S = 86_400

_BYTES = {"KB": 10**3, "MB": 10**6, "GB": 10**9}


@dataclass(frozen=True)
class Rotate:
    """A file is finished before it would have more than ``size_bytes``, or before the first metric of a later UTC day.

    Exactly one of the two is set. A single write of more than ``size_bytes`` is not divided.
    """

    size_bytes: int | None = None
    by_day: bool = False

    def is_due(self, length: int, span: Span | None, more_bytes: int, more_span: Span | None) -> bool:
        """Whether a file of ``length`` bytes and ``span`` is to be finished before ``more_bytes`` of ``more_span`` are added."""
        if not length or not more_bytes:
            return False
        if self.size_bytes is not None:
            return length + more_bytes > self.size_bytes
        return bool(span and more_span and more_span.last_s // DAY_S > span.last_s // DAY_S)


def parse_rotate(text: str) -> Rotate:
    """Parse ``text``; raises ``ValueError`` if it is neither a day nor a size."""
    if text.strip().lower() == "day":
        return Rotate(by_day=True)
    found = re.fullmatch(r"\s*([0-9]{1,9})\s*(KB|MB|GB)\s*", text, re.IGNORECASE)
    if found is None or not int(found[1]):
        raise ValueError("neither day nor a size")
    return Rotate(size_bytes=int(found[1]) * _BYTES[found[2].upper()])
