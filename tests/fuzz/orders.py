"""Fuzzes the processor's logic with records of ``orders``; the verification's reference processor is the oracle."""

import json
from collections import Counter, defaultdict, deque
from hashlib import sha256
from random import Random

from aiokafka.record.default_records import DefaultRecordBatchBuilder
from prometheus_client import CollectorRegistry

from libs.events.dead_letters import HEADERS, OMITTED_HEADERS, Reason
from libs.events.limits import DerivedLimits
from libs.events.watermarks import ORDER_HEADERS, WATERMARK_HEADERS, decode_watermark
from libs.runtime.kafka_client.partitioning import partition_for
from libs.runtime.records import LOG_APPEND_TIME
from services.processor.catalogue import load_catalogue
from services.processor.event_time_lag import EventTimeLag
from services.processor.order_metrics import OrderMetrics
from services.processor.order_partition import OrderPartition
from services.processor.replica_watermark import ReplicaWatermark
from services.processor.source_watermark import SourceWatermark
from tests.fuzz.mutations import Fields, Mutator, pick
from tests.fuzz.oracle import CATALOGUE, REFERENCE, allowed_outcome
from tests.fuzz.records import NOW_S, PARTITIONS, Outbox, Sent, any_record
from tests.fuzz.target import Tally
from tests.unit.driver import FakeClock, FakeRecord
from verification.reference_processor import AllowedOutcome, Order

BATCH = 50
SOURCE = 2
OUT_OF_ORDERNESS_S = 5.0
LIMITS = DerivedLimits(processed_order=1_500, late_order=1_600, dead_letter=4_000)
"""Far below the real limits, so that many records are close to them."""

_MOST_ADDED_BYTES = 3_000  # by a dead letter's headers
_AROUND_BYTES = 100  # by a processed order's key and header, and an amount of other digits

_TIMES_OFF_S = (0, 59.99, 60, 60.001, 61, -60, -86_400, -1e9, 3e9, 1e12, -1.7e9)
_NAMES = ("order_id", "user_id", "product_id", "amount", "timestamp", "product_name", "category", "type")
_LONGEST_FIELDS = max(len(json.dumps(fields)) for fields in json.loads(CATALOGUE.read_bytes()).values())


class Orders:
    """Valid and damaged orders of the last four seconds before ``now_s``, in batches as from a worker."""

    def __init__(self, random: Random, now_s: float = NOW_S, limits: DerivedLimits = LIMITS) -> None:
        self._random = random
        self._now_s = now_s
        self._limits = limits
        self._mutator = Mutator(random, _NAMES)
        self._number = 0
        self._logic = OrderPartition(
            "orders",
            SOURCE,
            load_catalogue(CATALOGUE),
            SourceWatermark(OUT_OF_ORDERNESS_S, 10.0),
            ReplicaWatermark(PARTITIONS, 60),
            EventTimeLag("orders", None, FakeClock(NOW_S)),
            FakeClock(NOW_S),
            OrderMetrics(CollectorRegistry(), Reason),
            limits,
        )
        self._output = Outbox()

    def value(self) -> bytes | None:
        """One order, damaged or not."""
        return self._mutator.mutate(self._order())

    def _order(self) -> Fields:
        random, self._number = self._random, self._number + 1
        off_s = pick(random, _TIMES_OFF_S) if random.random() < 0.05 else -4 * random.random()
        fields = {
            "order_id": f'"order-{self._number}"',
            "user_id": f'"user-{random.randrange(1000)}"',
            "product_id": f'"prod-{random.randrange(1, 6)}"',
            # A price times a quantity: in one of eight cases not the double nearest to its cents.
            "amount": f"{random.randrange(1, 10**6) / 100 * random.randrange(1, 9)}",
            "timestamp": f"{self._now_s + off_s:.3f}",
        }
        if random.random() < 0.1:
            fields[pick(random, _NAMES)] = self._mutator.value()
        return fields

    def batch(self) -> Tally:
        first = self._number
        return self.check([any_record(self._random, self.value(), first + number) for number in range(BATCH)])

    def check(self, records: list[FakeRecord]) -> Tally:
        """Let the logic process ``records``, and compare its output with the allowed results."""
        logic, before_s = self._logic, self._logic.watermark_s
        logic.process(records, self._output)
        outcomes = self._output.take()
        assert len(outcomes) == len(records), "not exactly one record for each"
        outcomes_of = _Outcomes(outcomes)
        latest_s = [_check(record, outcomes_of, self._limits) for record in records]
        times_s = [each for each in latest_s if each is not None]
        marks_s = [max(times_s) - OUT_OF_ORDERNESS_S] if times_s else []
        after_s = max([before_s, *marks_s] if before_s is not None else marks_s, default=None)
        assert logic.watermark_s == after_s, f"watermark {logic.watermark_s} instead of {after_s}"
        tally = Tally(len(times_s), len(records) - len(times_s))
        dead_letters = [dict(each.headers) for each in outcomes if each.topic == "orders-dlq"]
        self._check_commit(tally, Counter((headers["error.reason"] or b"").decode() for headers in dead_letters))
        return tally

    def _check_commit(self, tally: Tally, reasons: Counter[str]) -> None:
        counted = self._logic.before_commit(self._output, 0)
        assert counted.orders == tally.accepted
        assert counted.dead_letters == reasons
        watermarks = self._output.take()
        assert len(watermarks) in (0, PARTITIONS)
        for partition, sent in enumerate(watermarks):
            assert (sent.partition, sent.key, list(sent.headers)) == (partition, None, WATERMARK_HEADERS)
            assert decode_watermark(sent.value) == ((SOURCE,), PARTITIONS, self._logic.watermark_s)


class _Outcomes:
    """The output of a batch: dead letters by their records' offsets, processed orders of each partition in input order."""

    def __init__(self, outcomes: list[Sent]) -> None:
        self._dead_letters: dict[bytes, Sent] = {}
        self._processed: defaultdict[int, deque[Sent]] = defaultdict(deque)
        for sent in outcomes:
            if sent.topic == "orders-dlq":
                self._dead_letters[dict(sent.headers)["source.offset"] or b""] = sent
            else:
                self._processed[sent.partition].append(sent)

    def take(self, record: FakeRecord, order: Order | None) -> Sent | None:
        dead_letter = self._dead_letters.pop(b"%d" % record.offset, None)
        if dead_letter is not None or order is None:
            return dead_letter
        processed = self._processed[partition_for(order.product_id.encode(), PARTITIONS)]
        return processed.popleft() if processed else None


def _check(record: FakeRecord, outcomes_of: _Outcomes, limits: DerivedLimits) -> float | None:
    """Check the output for one record; returns the event time for the watermark, None for a dead letter."""
    arrived_s = record.timestamp / 1000 if record.timestamp_type == LOG_APPEND_TIME else NOW_S
    right = allowed_outcome(record.value, arrived_s)
    sent = outcomes_of.take(record, right.order)
    try:
        assert sent is not None
        assert sent.timestamp_ms == record.timestamp
        if sent.topic == "orders-dlq":
            _check_dead_letter(record, sent, right, limits)
            return None
        assert right.order is not None
        _check_processed(record, sent, right.order, limits)
    except (AssertionError, ValueError) as error:
        raise AssertionError(f"{sent!r:.2000} instead of {right} for {record!r:.3000}") from error
    return min(right.order.timestamp_s, arrived_s)


def _check_dead_letter(record: FakeRecord, sent: Sent, right: AllowedOutcome, limits: DerivedLimits) -> None:
    ours = sent.headers[:5]
    assert [name for name, _ in ours] == list(HEADERS)
    reason, message, *source = [value or b"" for _, value in ours]
    assert 0 < len(message.decode()) <= 5000
    assert source == [b"orders", b"%d" % SOURCE, b"%d" % record.offset]
    assert sent.partition == SOURCE
    assert batch_size(sent) <= limits.dead_letter
    record_size = batch_size(record)
    carried = [header for header in record.headers if header[0] not in (*HEADERS, *OMITTED_HEADERS)]
    if reason == b"too_large":
        if right.order:
            assert record_size + _LONGEST_FIELDS + _AROUND_BYTES > limits.processed_order
        else:
            assert record_size + _MOST_ADDED_BYTES > limits.dead_letter
    else:
        assert reason.decode() in right.reasons
    if [name for name, _ in sent.headers[5:7]] != list(OMITTED_HEADERS):
        assert (sent.key, sent.value, list(sent.headers[5:])) == (record.key, record.value, carried)
        return
    assert reason == b"too_large"
    assert record_size + _MOST_ADDED_BYTES > limits.dead_letter
    content = record.value or b""
    assert [each for _, each in sent.headers[5:7]] == [b"%d" % len(content), sha256(content).hexdigest().encode()]
    assert sent.value is None
    assert (sent.key, list(sent.headers[7:])) in ((record.key, carried), (None, []))


def batch_size(record: FakeRecord | Sent) -> int:
    """The size of a batch with this record, built by the client's own builder."""
    builder = DefaultRecordBatchBuilder(2, 0, 1, -1, -1, 0, 2**30)
    builder.append(0, 0, record.key, record.value, [*record.headers])
    return int(builder.size())


def _check_processed(record: FakeRecord, sent: Sent, order: Order, limits: DerivedLimits) -> None:
    assert sent.topic == "processed-orders"
    assert batch_size(sent) <= limits.processed_order
    assert list(sent.headers) == [*ORDER_HEADERS, *(header for header in record.headers if header[0] != "type")]
    assert REFERENCE.processed(sent.value) == order
    assert sent.key == order.product_id.encode()
    assert sent.partition == partition_for(sent.key, PARTITIONS)
    # It has to fit into its topic if the record fitted into `orders`: see the topics' max.message.bytes.
    assert len(sent.value or b"") <= len(record.value or b"") + _LONGEST_FIELDS
