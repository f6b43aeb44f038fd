"""The expected dead letter of a record of ``orders``: its allowed reasons and contents, as digests."""

from collections.abc import Mapping
from hashlib import blake2b, sha256
from typing import NamedTuple

TOO_LARGE = "too_large"


class ExpectedLetter(NamedTuple):
    """The allowed reasons and contents of a dead letter.

    ``without_value`` are the contents of a letter that has the size and digest instead of the value.
    """

    reasons: frozenset[str]
    content: bytes
    without_value: tuple[bytes, ...] = ()

    def has_content(
        self,
        reason: str,
        headers: Mapping[str, bytes | None],
        key: bytes | None,
        value: bytes | None,
        timestamp_ms: int,
    ) -> bool:
        """Whether a letter with this reason has an allowed content."""
        if value is None and reason == TOO_LARGE and (digest := headers.get("source.value.sha256")) is not None:
            size = headers.get("source.value.bytes") or b""
            return _without_value(key, size, digest, timestamp_ms) in self.without_value
        return _content(key, value, timestamp_ms) == self.content


def expected_letter(
    reasons: frozenset[str], key: bytes | None, value: bytes | None, timestamp_ms: int, *, may_be_too_large: bool
) -> ExpectedLetter:
    """The letter of a record; ``may_be_too_large``: it may also have been too large for ``orders-dlq``."""
    content = _content(key, value, timestamp_ms)
    if not may_be_too_large:
        return ExpectedLetter(reasons, content)
    size_and_digest = b"%d" % len(value or b""), sha256(value or b"").hexdigest().encode()
    contents = tuple(_without_value(each, *size_and_digest, timestamp_ms) for each in (key, None))
    return ExpectedLetter(reasons | {TOO_LARGE}, content, contents)


def _content(key: bytes | None, value: bytes | None, timestamp_ms: int) -> bytes:
    digest = blake2b(digest_size=16)
    for part in (key, value):
        digest.update(b"-" if part is None else b"%d:" % len(part) + part)
    digest.update(b"%d" % timestamp_ms)
    return digest.digest()


def _without_value(key: bytes | None, size: bytes, digest: bytes, timestamp_ms: int) -> bytes:
    return _content(key, size + b" " + digest, timestamp_ms)
