"""Accounts for every order: compares ``orders`` with ``processed-orders``, ``orders-dlq`` and ``late-orders``.

The calls come in this order: ``add_source`` for all of ``orders``, ``add_dead_letter``, ``settle``, ``add_late``,
``add_processed``, ``close``; the first three may be repeated for records written since. A million orders take about
200 MB: a digest and an integer each; twice as much if catalogues differ in the products' fields, and 900 MB if one
of them lacks the products.
"""

from collections.abc import Mapping, Sequence

from verification.expected_letter import TOO_LARGE, ExpectedLetter, expected_letter
from verification.history import WHOLE, History
from verification.late_orders import LateOrders
from verification.packed_order import Source, pack, processed_partition_of, rest_of, source_of
from verification.partitioning import partition_of
from verification.reference_processor import AllowedOutcome, Order, ReferenceProcessor
from verification.report import Damage, NotVerified, Report
from verification.sizes import MAY_NOT_FIT_BYTES, record_bytes
from verification.window_sums import WindowSums

_LOG_APPEND_TIME = 1
_UNKNOWN_PRODUCT = "unknown_product"


class Ledger:
    """Matches the processor's outputs with its inputs, and sums up per window what the analytics has to write.

    ``snapshot`` has the offset in each partition of ``orders`` up to which the processor has read when the verification begins: records
    before it must have been processed; later ones only explain newer outputs. ``history`` says what may be missing at the topics' beginnings. A
    large record may be a dead letter because of its size.
    """

    def __init__(
        self,
        reference: ReferenceProcessor,
        sums: WindowSums,
        snapshot: Mapping[int, int],
        report: Report,
        history: History = WHOLE,
    ) -> None:
        self._history = history
        self._processed_is_cut = history.is_cut("processed-orders")
        self._processed_partitions = len(history.begins.get("processed-orders", {}))
        # For each partition of `processed-orders`, by partition of `orders`: the offset of the first order that is left.
        self._first_left: dict[tuple[int, int], int] = {}
        self._first_letter_left: dict[int, int] = {}
        self._reference = reference
        self._sums = sums
        self._snapshot = snapshot
        self._report = report
        # By identity: the order's position and its `rest` packed into one integer, complemented once it is matched.
        self._orders: dict[bytes, int | list[int]] = {}
        self._faulty: dict[Source, ExpectedLetter] = {}
        self._undecided: dict[Source, AllowedOutcome] = {}
        self._rests: dict[Source, tuple[int, ...]] = {}  # of the orders with several allowed ones
        self._seen_faulty: set[Source] = set()
        # Orders that are in `orders-dlq`, though no given catalogue explains that. The sums do not have them until they are matched.
        self._rejected: set[Source] = set()
        self._late_orders = LateOrders(sums, report, history)

    def add_source(
        self,
        source: Source,
        key: bytes | None,
        value: bytes | None,
        timestamp_ms: int,
        now_s: float,
        *,
        timestamp_type: int,
        headers: Sequence[tuple[str, bytes | None]] = (),
    ) -> None:
        """Add a record of ``orders``.

        ``now_s`` is a time at which the snapshot has been processed. ``timestamp_type`` says who set the timestamp (KIP-32).
        If the broker did, it is the arrival time, by which the record is validated, whenever it is read.
        """
        due = source.offset < self._snapshot[source.partition]
        if due:
            self._report.sent += 1
        else:
            now_s = float("inf")  # may be processed any time from now
        if timestamp_type == _LOG_APPEND_TIME:
            now_s = timestamp_ms / 1000
        outcome: AllowedOutcome = self._reference.allowed_outcome(value, timestamp_ms / 1000, now_s)
        may_not_fit = record_bytes(key, value, headers) > MAY_NOT_FIT_BYTES
        if outcome.order and may_not_fit:
            outcome = outcome._replace(reasons=outcome.reasons | {TOO_LARGE})
        if outcome.reasons:
            letter = expected_letter(outcome.reasons, key, value, timestamp_ms, may_be_too_large=may_not_fit)
            self._faulty[source] = letter
            if outcome.order:
                self._undecided[source] = outcome
        elif outcome.order:
            self._expect(source, outcome.order, outcome.rests)

    def add_dead_letter(
        self, headers: Mapping[str, bytes | None], topic: str, key: bytes | None, value: bytes | None, timestamp_ms: int
    ) -> None:
        """Add a record of ``orders-dlq``; ``topic`` is the full name of ``orders``."""
        try:
            source = Source(int(_content_of(headers, "source.partition")), int(_content_of(headers, "source.offset")))
            reason = _content_of(headers, "error.reason").decode()
            source_topic = _content_of(headers, "source.topic").decode()
        except ValueError as error:
            self._report.found(Damage.UNREADABLE, f"orders-dlq: headers {dict(headers)}: {error!r}")
            return
        expected = self._faulty.get(source)
        if source_topic == topic:
            self._first_letter_left.setdefault(source.partition, source.offset)
            if source.offset < self._history.begins.get("orders", {}).get(source.partition, 0):
                self._report.not_verified[NotVerified.DEAD_LETTER] += 1
                return
        if expected is None or source_topic != topic:
            self._report.found(
                Damage.DEAD_LETTER_UNEXPECTED,
                f"{source} of {source_topic} as {reason}",
                may_lack_catalogue=(source_topic, reason) == (topic, _UNKNOWN_PRODUCT),
            )
            if source_topic == topic:
                self._reject(source, value)
            return
        if source in self._seen_faulty:
            self._report.found(Damage.DEAD_LETTER_DUPLICATED, f"{source} as {reason}")
            return
        self._seen_faulty.add(source)
        if source.offset < self._snapshot[source.partition]:
            self._report.dead_letters[reason] += 1
        if reason not in expected.reasons:
            right = " or ".join(sorted(expected.reasons))
            self._report.found(
                Damage.WRONG_REASON,
                f"{source}: {reason} instead of {right}",
                may_lack_catalogue=reason == _UNKNOWN_PRODUCT,
            )
        if not expected.has_content(reason, headers, key, value, timestamp_ms):
            self._report.found(Damage.DEAD_LETTER_CHANGED, f"{source}: now key {key!r}, value {value!r}"[:300])

    def settle(self, *, only_due: bool = False) -> None:
        """All dead letters have been added: records with both allowed results and no dead letter have to be orders.

        ``only_due``: those of records before the snapshot have been added, but maybe not all of the others.
        """
        undecided, self._undecided = self._undecided, {}
        for source, outcome in undecided.items():
            if only_due and not self._is_due(source):
                self._undecided[source] = outcome
            elif outcome.order and source not in self._seen_faulty:
                del self._faulty[source]
                self._expect(source, outcome.order, outcome.rests)

    def add_late(self, value: bytes | None, timestamp_ms: int = 0) -> Order | None:
        """Add a record of ``late-orders``."""
        order = self._read("late-orders", value)
        if order:
            self._late_orders.add(order, timestamp_ms, was_sent=order.identity in self._orders)
        return order

    def add_processed(
        self,
        value: bytes | None,
        *,
        read_by_analytics: bool,
        partition: int = 0,
        timestamp_ms: int = 0,
        passed_s: float = float("inf"),
    ) -> Order | None:
        """Add an order of ``processed-orders``. It can only be late if ``passed_s``, the event time there, is past its window.

        Only orders that the analytics had read before its late orders and metrics were read (``read_by_analytics``) stay in
        the sums, or are added to them: for a later one it is not known yet whether it is in a window or late.
        """
        order = self._read("processed-orders", value)
        if order is None:
            return None
        if order.identity not in self._orders and timestamp_ms <= self._history.orders_missing_until_ms:
            self._report.not_verified[NotVerified.PROCESSED] += 1
            return order
        source = self._match(order)
        if source is None:
            return order
        self._first_left.setdefault((partition, source.partition), source.offset)
        due = self._is_due(source)
        self._report.processed += due
        is_in_sums = due and source not in self._rejected
        if read_by_analytics and not is_in_sums:
            self._sums.accept(order)
        elif is_in_sums and not read_by_analytics:
            self._sums.take_back(order)
        self._late_orders.match(order, passed_s, read_by_analytics=read_by_analytics)
        return order

    def close(self) -> None:
        """All outputs have been added: report what is missing, or too much."""
        for source, letter in self._faulty.items():
            if source not in self._seen_faulty and self._is_due(source):
                if self._letter_may_be_gone(source):
                    self._report.not_verified[NotVerified.OUTCOME] += 1
                    continue
                self._report.found(Damage.DEAD_LETTER_LOST, f"{source}: {' or '.join(sorted(letter.reasons))}")
        for entry in self._orders.values():
            for packed in _copies(entry):
                source = source_of(packed)
                if packed >= 0 and self._is_due(source) and source not in self._rejected:
                    if self._processed_may_be_gone(packed):
                        self._report.not_verified[NotVerified.OUTCOME] += 1
                        continue
                    self._report.found(Damage.LOST, str(source))
        self._late_orders.close(self._source_text, self._a_copy_may_be_gone)

    def _letter_may_be_gone(self, source: Source) -> bool:
        first = self._first_letter_left.get(source.partition)
        return self._history.is_cut("orders-dlq", source.partition) and (first is None or source.offset < first)

    def _processed_may_be_gone(self, packed: int) -> bool:
        source, partition = source_of(packed), processed_partition_of(packed)
        first = self._first_left.get((partition, source.partition))
        return self._history.is_cut("processed-orders", partition) and (first is None or source.offset < first)

    def _source_text(self, identity: bytes) -> str | None:
        entry = self._orders.get(identity)
        return None if entry is None else str(source_of(_copies(entry)[0]))

    def _a_copy_may_be_gone(self, identity: bytes) -> bool:
        """Whether an order was sent and its record in ``processed-orders`` may have been deleted."""
        copies = _copies(self._orders.get(identity, []))
        return any(packed >= 0 and self._processed_may_be_gone(packed) for packed in copies)

    def _is_due(self, source: Source) -> bool:
        return source.offset < self._snapshot[source.partition]

    def _reject(self, source: Source, value: bytes | None) -> None:
        """The dead letter is the order's result, if its value is the order's."""
        order = self._reference.allowed_outcome(value, float("inf"), float("inf")).order
        if order is None or source in self._rejected:
            return
        if any(source_of(packed) == source for packed in _copies(self._orders.get(order.identity, []))):
            self._rejected.add(source)
            if self._is_due(source):
                self._sums.take_back(order)

    def _expect(self, source: Source, order: Order, rests: tuple[int, ...]) -> None:
        if len(rests) > 1:
            self._rests[source] = rests
        partition = 0
        if self._processed_is_cut:
            partition = partition_of(order.product_id, self._processed_partitions)
        packed = pack(source, order.rest, partition)
        present = self._orders.setdefault(order.identity, packed)
        if present is not packed:  # the same order again
            self._orders[order.identity] = [*present, packed] if isinstance(present, list) else [present, packed]
        if self._is_due(source):
            self._sums.accept(order)

    def _read(self, topic: str, value: bytes | None) -> Order | None:
        try:
            return self._reference.processed(value)
        except ValueError as error:
            self._report.found(Damage.UNREADABLE, f"{topic}: {value!r}: {error}"[:300])
            return None

    def _match(self, order: Order) -> Source | None:
        entry = self._orders.get(order.identity)
        if entry is None:
            is_unknown = not self._reference.knows(order.product_id)
            self._report.found(Damage.UNEXPECTED, order.summary, may_lack_catalogue=is_unknown)
            return None
        if isinstance(entry, int):
            packed = entry
            self._orders[order.identity] = ~packed if packed >= 0 else packed
        else:
            open_ones = [index for index, packed in enumerate(entry) if packed >= 0]
            same_rest = [index for index in open_ones if self._has_rest(entry[index], order.rest)]
            candidates = same_rest or open_ones or [0]
            index = min(candidates, key=lambda each: source_of(entry[each]) in self._rejected)
            packed = entry[index]
            entry[index] = ~packed if packed >= 0 else packed
        if packed < 0:
            self._report.found(Damage.DUPLICATED, f"{source_of(packed)}: {order.summary}")
            return None
        if not self._has_rest(packed, order.rest):
            self._report.found(Damage.CHANGED, f"{source_of(packed)}: {order.summary}", may_lack_catalogue=True)
        return source_of(packed)

    def _has_rest(self, packed: int, rest: int) -> bool:
        return rest_of(packed) == rest or rest in self._rests.get(source_of(packed), ())


def _content_of(headers: Mapping[str, bytes | None], name: str) -> bytes:
    content = headers.get(name)
    if content is None:
        raise ValueError(f"no {name}")
    return content


def _copies(entry: int | list[int]) -> list[int]:
    """All copies of an order, as packed integers."""
    return [entry] if isinstance(entry, int) else entry
