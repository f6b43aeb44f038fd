"""Fuzzes the analytics: records of ``processed-orders`` and of the changelog, as another writer may have written them."""

from collections.abc import Mapping
from random import Random

from prometheus_client import CollectorRegistry

from libs.events.watermarks import ORDER_HEADERS, WATERMARK_HEADERS
from services.analytics.analytics_partition import AnalyticsPartition
from services.analytics.window_metrics import WindowMetrics
from services.analytics.windows import DamagedStateError, TumblingWindows, WindowKey
from tests.fuzz.mutations import Mutator, pick
from tests.fuzz.oracle import may_be_accepted_by_lenient_parsers, processed_order, watermark
from tests.fuzz.records import NOW_S, Outbox, RecordHeaders, Sent, any_record
from tests.fuzz.target import Tally
from tests.unit.driver import FakeClock, FakeRecord
from verification.metrics import read_metric_record
from verification.strict_json import NotAnObjectError
from verification.window_sums import Total, mean_cents

BATCH = 50
WINDOW_S = 60
SOURCES = 3
PARTITION = 4
BATCHES_OF_ONE_LIFE = 40
_WATERMARK_HEADERS = tuple(WATERMARK_HEADERS)
_ORDER = tuple(ORDER_HEADERS)
_NAMES = ("product_id", "amount", "timestamp", "order_id", "source", "sources", "watermark", "type")


class ProcessedOrders:
    """Valid and damaged orders and watermarks for one partition; closed windows are compared with independent sums.

    From time to time the partition is discarded and restored from its changelog.
    """

    def __init__(self, random: Random) -> None:
        self._random = random
        self._mutator = Mutator(random, _NAMES)
        self._output = Outbox()
        self._offset = 0
        self._begin()

    def _begin(self) -> None:
        self._batches = 0
        self._time_s = NOW_S
        self._logic = _partition()
        self._changelog: dict[bytes, bytes] = {}
        self._sums: dict[tuple[str, int], Total] = {}

    def batch(self) -> Tally:
        self._batches += 1
        if self._batches > BATCHES_OF_ONE_LIFE:
            self._begin()
        self._time_s += self._random.random() * 10
        return self.check([self._record() for _ in range(BATCH)])

    def _record(self) -> FakeRecord:
        self._offset += 1
        headers: RecordHeaders
        if self._random.random() < 0.3:
            value, headers = self.watermark(), _WATERMARK_HEADERS
        else:
            value, headers = self.order(), _ORDER
        keep_headers = self._random.random() < 0.9
        return any_record(self._random, value, self._offset, headers if keep_headers else None)

    def watermark(self) -> bytes | None:
        """A watermark, valid in half of the cases."""
        random = self._random
        sources = random.sample(range(SOURCES), random.randint(1, SOURCES))
        fields = {
            "source": pick(random, (str(sources[0]), str(sources))),
            "sources": str(SOURCES),
            "watermark": f"{self._time_s - random.random() * 20:.2f}",
        }
        return self._mutator.mutate(fields) if random.random() < 0.5 else _plain(fields)

    def order(self) -> bytes | None:
        """A processed order, damaged or not."""
        random = self._random
        fields = {
            "product_id": f'"prod-{random.randrange(1, 6)}"',
            "amount": f"{random.randrange(1, 10**6) / 100}",
            "timestamp": f"{self._time_s + random.uniform(-30, 90):.3f}",
        }
        return self._mutator.mutate(fields)

    def check(self, records: list[FakeRecord]) -> Tally:
        """Let the partition process ``records`` one by one, and check the result of each."""
        tally = Tally()
        for record in records:
            try:
                accepted = self._check_one(record)
            except AssertionError as error:
                raise AssertionError(f"{error} for {record!r:.3000}") from error
            tally = tally.plus(Tally(1, 0) if accepted else Tally(0, 1))
        assert self._logic.before_commit(self._output, 0).dead_letters.total() == tally.refused
        for sent in self._output.take():
            assert (sent.topic, sent.partition) == ("analytics-state", PARTITION)
            assert sent.key is not None
            if sent.value is None:
                self._changelog.pop(sent.key, None)
            else:
                self._changelog[sent.key] = sent.value
        if self._batches % 10 == 0:
            again = _partition()
            again.restore([FakeRecord(value, key) for key, value in self._changelog.items()])
            assert _state(again) == _state(self._logic), "the state restored from the changelog differs"
            self._logic = again
        return tally

    def _check_one(self, record: FakeRecord) -> bool:
        logic, is_mark = self._logic, record.key is None and record.headers == _WATERMARK_HEADERS
        before = _state(logic)
        logic.process([record], self._output)
        sent = self._output.take()
        if sent and sent[0].topic == "orders-dlq":
            (letter,) = sent
            assert (letter.key, letter.value, letter.timestamp_ms) == (record.key, record.value, record.timestamp)
            assert _state(logic) == before, "a rejected record has changed the state"
            assert self._expected(record, accepted=False) is None, "a valid record was rejected"
            return False
        order = self._expected(record, accepted=True)
        if is_mark:
            for metric in sent:
                self._check_metric(metric)
        elif sent:
            (late,) = sent
            assert (late.topic, late.key, late.value) == ("late-orders", record.key, record.value)
            assert _state(logic) == before, "a late order has changed the state"
        elif order is not None:
            product_id, time_s, cents = order
            window = (product_id, int(time_s) // WINDOW_S * WINDOW_S)
            total = self._sums.get(window, Total())
            self._sums[window] = Total(total.orders + 1, total.cents + cents)
        else:
            # Only a lenient parser accepts it: the result is visible in the state.
            self._sums = {(key.product_id, key.start_s): Total(*totals) for key, totals in _open(logic).items()}
        return True

    def _expected(self, record: FakeRecord, *, accepted: bool) -> tuple[str, float, int] | None:
        """The order that ``record`` must be read as, if that is certain; None for an accepted watermark."""
        try:
            if record.key is None and record.headers == _WATERMARK_HEADERS:
                mark = watermark(record.value)
                assert (mark is not None) == accepted, f"watermark {mark}, accepted: {accepted}"
                return None
            order = processed_order(record.value)
        except NotAnObjectError as error:
            assert not accepted or may_be_accepted_by_lenient_parsers(record.value), f"accepted, but {error}"
            return None
        assert (order is not None) == accepted, f"order {order}, accepted: {accepted}"
        return order

    def _check_metric(self, sent: Sent) -> None:
        assert sent.topic == "product-metrics"
        metric = read_metric_record(sent.key, sent.value, WINDOW_S)
        total = self._sums.pop(metric.window)
        written = (metric.order_count, metric.revenue_cents, metric.average_cents)
        assert written == (total.orders, total.cents, mean_cents(total))


class Changelog:
    """Keys and values of ``analytics-state``: either restored to a usable state, or reported as damaged."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._mutator = Mutator(random, ("clock", "sources", "watermarks", "order_count", "revenue_cents"))

    def batch(self) -> Tally:
        windows, tally = TumblingWindows(WINDOW_S), Tally()
        for _ in range(BATCH):
            key, value = self.record()
            try:
                windows.restore(key, value)
                tally = tally.plus(Tally(1, 0))
            except DamagedStateError as error:
                assert len(str(error)) < 2000, "the message is as long as the record"
                tally = tally.plus(Tally(0, 1))
        self._check_usable(windows)
        return tally

    def record(self) -> tuple[bytes, bytes | None]:
        """One changelog record, damaged or not."""
        random, mutator = self._random, self._mutator
        if random.random() < 0.3:
            watermarks = ",".join(
                f'"{source}":{self._valid_or_damaged("1700000000.5")}' for source in range(random.randrange(5))
            )
            fields = {
                "clock": self._valid_or_damaged("1700000000"),
                "sources": self._valid_or_damaged("5"),
                "watermarks": f"{{{watermarks}}}",
            }
            return b"watermarks", mutator.mutate(fields)
        parts = [
            self._valid_or_damaged("1700000040"),
            self._valid_or_damaged("1700000100"),
            self._valid_or_damaged(f'"prod-{random.randrange(9)}"'),
        ]
        key = f"[{','.join(parts)}]".encode(errors="surrogatepass")
        if random.random() < 0.1:
            key = pick(random, (b"", b'"abc"', b"{}", key[:-1], key + b"\x00", b"watermark", b"\xff", b"[[],[],[]]"))
        totals = {"order_count": str(random.randrange(1, 99)), "revenue_cents": str(random.randrange(1, 10**9))}
        return key, mutator.mutate(totals)

    def _valid_or_damaged(self, text: str) -> str:
        return text if self._random.random() < 0.9 else self._mutator.value()

    def _check_usable(self, windows: TumblingWindows) -> None:
        """Check that the restored state can be used: process an order and close the windows."""
        logic = _partition()
        logic._windows = windows
        output = Outbox()
        sound = {"product_id": '"prod-1"', "amount": "1", "timestamp": "1700000041"}
        logic.process([FakeRecord(_plain(sound), headers=_ORDER)], output)
        for source in range(5):
            mark = {"source": str(source), "sources": "5", "watermark": "250000000000"}
            logic.process([FakeRecord(_plain(mark), headers=_WATERMARK_HEADERS)], output)
        logic.before_commit(output, 0)


def _partition() -> AnalyticsPartition:
    return AnalyticsPartition(
        "processed-orders", PARTITION, WINDOW_S, FakeClock(NOW_S), WindowMetrics(CollectorRegistry())
    )


def _open(logic: AnalyticsPartition) -> dict[WindowKey, list[int]]:
    return {
        window.key: [window.count, window.cents]
        for windows in logic._windows._open.values()
        for window in windows.values()
    }


def _state(logic: AnalyticsPartition) -> object:
    clock = logic._windows.clock
    return (
        {key: tuple(total) for key, total in _open(logic).items()},
        clock.now_s,
        clock._sources,
        dict(clock._watermarks_s),
    )


def _plain(fields: Mapping[str, str]) -> bytes:
    return ("{" + ",".join(f'"{name}":{text}' for name, text in fields.items()) + "}").encode()
