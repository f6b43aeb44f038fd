"""Names of finished metrics files: ``metrics-2026-11-28T00-00Z--2026-11-28T23-59Z.json`` beside ``metrics.json``.

The two times, in UTC, are the starts of the file's first and last window. A number may follow before the suffix, as in ``….json``
and ``….2.json``. ``.json.gz`` or ``.parquet`` in place of ``.json`` is the same file in another format; for a moment it exists in
both.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

GZIP_SUFFIX = ".gz"
PARQUET_SUFFIX = ".parquet"

_MINUTE_S = 60
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TIME = "%Y-%m-%dT%H-%MZ"
_TIME_PATTERN = r"\d{4}-\d\d-\d\dT\d\d-\d\dZ"


class Span(NamedTuple):
    """The starts of the first and the last window of a file, in epoch seconds."""

    first_s: int
    last_s: int

    def joined(self, other: "Span | None") -> "Span":
        """The span that covers both."""
        if other is None:
            return self
        return Span(min(self.first_s, other.first_s), max(self.last_s, other.last_s))


class FinishedFile(NamedTuple):
    """A finished file in one format. Files with the same ``name`` have the same metrics; ``span`` is exact to the minute."""

    path: Path
    name: str
    span: Span

    @property
    def windows_begin_before_s(self) -> int:
        """The end of the minute in which the file's last window begins: the time in its name is exact to the minute."""
        return self.span.last_s + _MINUTE_S

    @property
    def is_converted(self) -> bool:
        """Whether it is compressed, or Parquet."""
        return self.path.suffix in (GZIP_SUFFIX, PARQUET_SUFFIX)


def finished_files(live: Path) -> Iterator[FinishedFile]:
    """The finished files beside the live file ``live``, in no particular order."""
    pattern = re.compile(
        rf"(?P<name>{re.escape(live.stem)}-(?P<first>{_TIME_PATTERN})--(?P<last>{_TIME_PATTERN})(\.\d+)?)"
        rf"({re.escape(live.suffix)}({re.escape(GZIP_SUFFIX)})?|{re.escape(PARQUET_SUFFIX)})"
    )
    for path in live.parent.iterdir() if live.parent.is_dir() else ():
        if found := pattern.fullmatch(path.name):
            try:
                span = Span(_epoch_s(found["first"]), _epoch_s(found["last"]))
            except ValueError:
                continue  # not a date, such as month 13: a file of another program
            yield FinishedFile(path, found["name"], span)


def free_name(live: Path, span: Span | None, number: int) -> str:
    """A name for the content of ``live``, in its own format, that no finished file has in any format.

    It has ``number``, or a higher one if that name is taken; the number 1 is left out.
    """
    first, last = (_time(each) for each in span or (0, 0))
    taken = {each.name for each in finished_files(live)}
    base = f"{live.stem}-{first}--{last}"
    name = base if number == 1 else f"{base}.{number}"
    while name in taken:
        number += 1
        name = f"{base}.{number}"
    return name + live.suffix


def _time(epoch_s: int) -> str:
    return (_EPOCH + timedelta(seconds=epoch_s)).strftime(_TIME)


def _epoch_s(time: str) -> int:
    return int(datetime.strptime(time, _TIME).replace(tzinfo=UTC).timestamp())
