"""How far event time has come, by the watermark records between the processed orders."""

from verification.strict_json import number, parse_object

_NEVER = float("-inf")
_MAX_SOURCES = 1000  # the most partitions that a pipeline's topics can have


class Marks:
    """The newest watermark of each source, per partition of ``processed-orders``."""

    def __init__(self) -> None:
        self._newest_s: dict[int, dict[int, float]] = {}
        self._sources = 0

    def add(self, partition: int, value: bytes | None) -> None:
        """Take in a watermark record of ``partition``; raises ``ValueError``."""
        fields = parse_object(value)
        source, sources, watermark_s = (number(fields.get(name)) for name in ("source", "sources", "watermark"))
        if source is None or sources is None or watermark_s is None or not 0 <= source < sources <= _MAX_SOURCES:
            raise ValueError("not a watermark record")
        newest_s = self._newest_s.setdefault(partition, {})
        newest_s[int(source)] = max(newest_s.get(int(source), _NEVER), watermark_s)
        self._sources = max(self._sources, int(sources))

    def passed_s(self, partition: int) -> float:
        """The event time, in epoch seconds, that every source has passed as ``partition`` tells it."""
        newest_s = self._newest_s.get(partition, {})
        if not self._sources or len(newest_s) < self._sources:
            return _NEVER
        return min(newest_s.values())
