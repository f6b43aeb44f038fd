"""Reads the watermark records between the processed orders."""

from verification.strict_json import number, parse_object

_NEVER = float("-inf")
_MAX_SOURCES = 1000  # more than the maximum number of partitions of a pipeline's topics


class Watermarks:
    """The event time that each partition of ``processed-orders`` has passed, by the watermark records read so far.

    It never decreases, not even when a source is added.
    """

    def __init__(self) -> None:
        self._newest_s: dict[int, dict[int, float]] = {}
        self._sources: dict[int, int] = {}
        self._passed_s: dict[int, float] = {}

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
        sources_count = self._sources[partition] = max(self._sources.get(partition, 0), int(count))
        if len(newest_s) == sources_count:
            self._passed_s[partition] = max(self.passed_s(partition), min(newest_s.values()))

    def passed_s(self, partition: int) -> float:
        """The event time, in epoch seconds, that all sources have passed, by the watermarks in ``partition``."""
        return self._passed_s.get(partition, _NEVER)
