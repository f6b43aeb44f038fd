"""Dead letters and summaries as JSON. Times are in epoch seconds, as everywhere in the pipeline."""

from base64 import b64encode
from typing import Any

from dead_letters.dead_letter import DeadLetter, Place
from dead_letters.replay_marks import ReplayMark
from dead_letters.summaries import ByReason, ListEnd, Newest


def reasons_json(by_reason: ByReason, end: ListEnd) -> dict[str, Any]:
    """The summary of all reasons, and the places for ``list --from`` to continue from in the same cluster."""
    return {
        "cluster_id": end.cluster_id,
        "next": [str(Place(partition, offset)) for partition, offset in sorted(end.offsets.items())],
        "reasons": {
            reason: {
                "letters": each.letters,
                "replayed": each.replayed,
                "first": each.first_ms / 1000,
                "last": each.newest.timestamp_ms / 1000,
                "newest": str(each.newest.place),
            }
            for reason, each in sorted(by_reason.sums.items())
        },
    }


def letters_json(newest: Newest) -> dict[str, Any]:
    """The newest letters, and the number of all."""
    return {
        "letters": newest.count,
        "newest": [{**letter_json(letter), "replayed": replayed} for letter, replayed in newest.letters()],
    }


def letter_json(letter: DeadLetter, mark: ReplayMark | None = None) -> dict[str, Any]:
    """One letter with all fields. Bytes are a string, or ``{"base64": ...}`` if they are not UTF-8."""
    source = letter.rejection
    return {
        "place": str(letter.place),
        "reason": letter.reason,
        "message": letter.message,
        "source": source and {"topic": source.topic, "partition": source.partition, "offset": source.offset},
        "timestamp": letter.timestamp_ms / 1000,
        "key": _bytes_json(letter.key),
        "value": _bytes_json(letter.value),
        "headers": [[name, _bytes_json(value)] for name, value in letter.headers],
        "replayed": mark and {"at": mark.replayed_at_s, "partition": mark.partition, "offset": mark.offset},
    }


def _bytes_json(value: bytes | None) -> str | dict[str, str] | None:
    if value is None:
        return None
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"base64": b64encode(value).decode()}
