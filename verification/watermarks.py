"""Reads the watermark records between the processed orders."""

from verification.strict_json import number, parse_object

_NEVER = float("-inf")
_MAX_SOURCES = 1000  # more than the maximum number of partitions of a pipeline's topics


class Watermarks:
    """The newest watermark of each source, per partition of ``processed-orders``."""

    def __init__(self) -> None:
        self._newest_s: dict[int, dict[int, float]] = {}
        self._sources = 0

    def add(self, partition: int, value: bytes | None) -> None:
        """Add a watermark record of ``partition``; raises ``ValueError``."""
        fields = parse_object(value)
        named = fields.get("source")
        numbers = [number(each) for each in (named if isinstance(named, list) else [named])]
        count, watermark_s = number(fields.get("sources")), number(fields.get("watermark"))
        if count is None or watermark_s is None or not 0 < count <= _MAX_SOURCES:
            raise ValueError("not a watermark record")
        sources = [int(each) for each in numbers if each is not None and 0 <= each < count]
        if not sources or len(sources) < len(numbers):
            raise ValueError("not a watermark record")
        newest_s = self._newest_s.setdefault(partition, {})
        for source in sources:
            newest_s[source] = max(newest_s.get(source, _NEVER), watermark_s)
        self._sources = max(self._sources, int(count))

    def passed_s(self, partition: int) -> float:
        """The event time, in epoch seconds, that all sources have passed, by the watermarks in ``partition``."""
        newest_s = self._newest_s.get(partition, {})
        if not self._sources or len(newest_s) < self._sources:
            return _NEVER
        return min(newest_s.values())
