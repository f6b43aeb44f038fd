"""Fuzzes the sink: records of ``product-metrics``, its checkpoint, and an existing file."""

import tempfile
from pathlib import Path
from random import Random

import orjson

from services.sink.file.checkpoint import Checkpoint, DamagedCheckpointError, decode_checkpoint, encode_checkpoint
from services.sink.file.disk import Disk
from services.sink.file.lines import lines_of
from services.sink.record_batcher import Position, RecordBatcher
from tests.fuzz.mutations import Mutator, damaged, pick
from tests.fuzz.oracle import may_be_accepted_by_lenient_parsers
from tests.fuzz.records import any_record
from tests.fuzz.target import Tally
from tests.unit.test_sink_checkpoint import signed
from tests.unit.test_sink_crashes import assert_checkpoint_matches_files, assert_equal, copy, topic_of
from verification.strict_json import NotAnObjectError, overflows, parse_object

BATCH = 50
METRICS = 30
_NAMES = ("window_start", "window_end", "product_id", "order_count", "total_revenue", "avg_order_value")


class Metrics:
    """Records of ``product-metrics``: an equivalent line for each JSON object; none for the others."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._mutator = Mutator(random, _NAMES)
        self._reader = RecordBatcher(lines_of, {}, ())
        self._offset = 0

    def value(self) -> bytes | None:
        """One metric, damaged or not."""
        fields = {
            "window_start": "1700000040",
            "window_end": "1700000100",
            "product_id": f'"prod-{self._random.randrange(1, 6)}"',
            "order_count": str(self._random.randrange(1, 1000)),
            "total_revenue": "12450.5",
            "avg_order_value": "276.68",
        }
        return self._mutator.mutate(fields)

    def batch(self) -> Tally:
        tally = Tally()
        for _ in range(BATCH):
            value = self.value()
            self._offset += 1
            (batch,) = self._reader.batches({0: [any_record(self._random, value, self._offset)]}, 1)
            assert len(batch.positions) == 1
            assert len(batch.items) + len(batch.rejected) == 1
            assert all(len(reason) < 500 for reason in batch.rejected)
            _check_line(value, [line.text for line in batch.items])
            tally = tally.plus(Tally(len(batch.items), len(batch.rejected)))
        return tally


def _check_line(value: bytes | None, lines: list[bytes]) -> None:
    try:
        content = parse_object(value)
    except NotAnObjectError:
        assert not lines or may_be_accepted_by_lenient_parsers(value), f"a line for {value!r:.2000}"
        return
    try:
        is_line = not overflows(content)
    except RecursionError:
        return
    assert is_line == bool(lines), f"{lines!r:.2000} for {value!r:.2000}"
    for line in lines:
        assert line.splitlines() == [line]
        assert parse_object(line) == content


class Checkpoints:
    """A damaged checkpoint is rejected; an accepted one has a correct checksum and is decoded correctly."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._mutator = Mutator(random, ("version", "cluster_id", "checksum"))

    def batch(self) -> Tally:
        tally = Tally()
        for _ in range(BATCH):
            checkpoint, data = self._any()
            try:
                found = decode_checkpoint(data)
            except DamagedCheckpointError:
                tally = tally.plus(Tally(0, 1))
                continue
            if checkpoint is not None:
                assert found == checkpoint, f"{found} from {data!r:.2000}"
            assert decode_checkpoint(encode_checkpoint(found)) == found
            tally = tally.plus(Tally(1, 0))
        return tally

    def _any(self) -> tuple[Checkpoint | None, bytes]:
        """A checkpoint and its bytes, possibly damaged; or None and damaged bytes with a matching checksum."""
        random = self._random
        positions = {
            number: Position(random.randrange(1000), random.getrandbits(32)) for number in range(random.randrange(7))
        }
        checkpoint = Checkpoint(
            "cluster", "product-metrics", random.randrange(10**6), random.getrandbits(32), positions
        )
        data = encode_checkpoint(checkpoint)
        chance = random.random()
        if chance < 0.1:
            return checkpoint, data
        if chance < 0.5:
            return checkpoint, damaged(data, random)
        fields = {
            name: orjson.dumps(value).decode() for name, value in orjson.loads(data).items() if name != "checksum"
        }
        if random.random() < 0.5:
            name = pick(random, ("0", "00", "-1", "x", "1_0", "\u0661", "9" * 5000))
            position = {"next_offset": self._mutator.value(), "crc32_before": self._mutator.value()}
            inner = ",".join(f'"{key}":{text}' for key, text in position.items())
            fields["positions"] = f'{{"{name}":{{{inner}}}}}'
        value = self._mutator.mutate(fields) or b""
        try:
            return None, signed(orjson.loads(value))
        except (ValueError, TypeError):  # not a JSON object, or nested deeper than orjson can encode
            return None, value


class _QuickDisk(Disk):
    """A disk without syncs, since there are no power cuts here."""

    def sync(self, descriptor: int) -> None: ...

    def sync_directory(self, path: Path) -> None: ...


class DamagedFiles:
    """A damaged or half-copied file and checkpoint: in the end each metric has to be in the file once."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._topic = topic_of(METRICS)

    def batch(self) -> Tally:
        random = self._random
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "metrics.json"
            begun = [partition[: random.randrange(len(partition) + 1)] for partition in self._topic]
            copy(path, begun, _QuickDisk())
            checkpoint = path.with_name(path.name + ".checkpoint")
            for each in (path, checkpoint):
                if each.exists() and random.random() < 0.6:
                    self._damage(each)
            kept = path.stat().st_size if path.exists() else 0
            copy(path, self._topic, _QuickDisk())
            assert_equal(path, self._topic)
            assert_checkpoint_matches_files(path, self._topic)
            put_aside = list(path.parent.glob("*.old"))
        return Tally(0, 1) if put_aside or not kept else Tally(1, 0)

    def _damage(self, path: Path) -> None:
        random, content = self._random, path.read_bytes()
        chance = random.random()
        if chance < 0.1:
            path.unlink()
        elif chance < 0.2:
            path.write_bytes(random.randbytes(random.randrange(2000)))
        elif chance < 0.3:
            path.write_bytes(content + b'{"half a li')
        else:
            path.write_bytes(damaged(content, random))
