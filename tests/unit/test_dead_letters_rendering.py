import json
from dataclasses import replace
from io import StringIO

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console, RenderableType

from dead_letters.as_json import letter_json, letters_json, reasons_json
from dead_letters.dead_letter import DeadLetter, Place, read_letter
from dead_letters.reader import Topics
from dead_letters.rendering import letter_text, letters_table, plan_text, reasons_table
from dead_letters.replay_marks import ReplayMark
from dead_letters.selection import Plan, Selection, obstacle, replay_headers, window_has_ended
from dead_letters.summaries import ByReason, ListEnd, Newest
from libs.events.dead_letters import Reason, RejectedError, dead_letter_headers
from libs.printable import pretty, printable, time_of
from tests.unit.driver import FakeRecord

TOPICS = Topics(
    "cluster-1", "p-orders", "p-orders-dlq", "p-dead-letters-replayed", 6, 1_000_000, 6, 1, marks_partitions=6
)
T0_MS = 1_700_000_000_000


def letter(
    value: bytes | None = b"{}",
    reason: Reason = Reason.MISSING_FIELD,
    *,
    offset: int = 0,
    at_ms: int = T0_MS,
    topic: str = "p-orders",
    partition: int = 0,
) -> DeadLetter:
    headers = (*dead_letter_headers(topic, partition, 5, RejectedError(reason, "why")), ("trace", b"\x1b[31m"))
    return read_letter(FakeRecord(value, b"k", headers, offset, 3, timestamp=at_ms))


def damaged(value: bytes | None = b"?") -> DeadLetter:
    return read_letter(FakeRecord(value, headers=(("a\x1bb", b"\xff"),)))


def text_of(what: RenderableType, width: int = 200) -> str:
    console = Console(file=StringIO(), width=width, color_system=None)
    with console.capture() as capture:
        console.print(what)
    return capture.get()


@given(st.none() | st.text() | st.binary(), st.none() | st.integers(2, 50))
def test_output_is_printable_and_bounded(value: str | bytes | None, most_chars: int | None) -> None:
    shown = printable(value, most_chars)
    assert shown.isprintable()
    assert most_chars is None or value is None or len(shown) <= most_chars


def test_truncated_excerpts_are_marked() -> None:
    assert printable(b"0123456789", 10) == "0123456789"
    assert printable(b"0123456789x", 10) == "012345678…"
    assert printable("é" * 50, 10) == "é" * 9 + "…"
    assert printable("é".encode() * 50, 10) == "é" * 9 + "…"
    assert printable(b"\x1b[31m\xff\n\xe2\x80\xae") == r"\x1b[31m\xff\n\u202e"


def test_json_is_indented_without_other_changes() -> None:
    """The fault may be a repeated field."""
    value = b'{"a":1, "a":[2, {}, "x: {\\"y\\",\\u001b"],"b":12.340,"c":[ ]}'
    shown = pretty(value)
    assert shown.split("\n")[:4] == ["{", '  "a": 1,', '  "a": [', "    2,"]
    assert shown.count('"a"') == 2
    assert "12.340" in shown
    assert json.loads(shown) == json.loads(value)
    assert pretty(b"no JSON \xff") == r"no JSON \xff"
    assert pretty(None) == "(none)"


@given(
    st.recursive(st.none() | st.integers() | st.text(), lambda each: st.lists(each) | st.dictionaries(st.text(), each))
)
def test_indented_json_parses_to_the_same_value(value: object) -> None:
    text = json.dumps(value).encode()
    try:
        orjson.loads(text)
    except ValueError:
        return  # a lone surrogate
    assert json.loads(pretty(text)) == value


def test_timestamps_outside_the_calendar_are_shown_as_numbers() -> None:
    assert time_of(T0_MS) == "2023-11-14 22:13:20Z"
    assert time_of(T0_MS + 7, "milliseconds") == "2023-11-14 22:13:20.007Z"
    assert time_of(2**63 - 1) == f"{2**63 - 1} ms"


def test_the_summary_has_a_line_for_each_reason() -> None:
    by_reason = ByReason()
    for number in range(3):
        by_reason.add(letter(b"[red]%d" % number, offset=number, at_ms=T0_MS + 1000 * number), replayed=number == 0)
    by_reason.add(damaged(), replayed=False)
    shown = text_of(reasons_table(by_reason))
    first = shown.splitlines()[4]  # the most frequent
    assert first.split() == [
        "missing_field",
        "3",
        "1",
        *["2023-11-14", "22:13:20Z", "2023-11-14", "22:13:22Z"],
        "3/2",
        "[red]2",
    ]
    assert "damaged_headers" in shown
    found = reasons_json(by_reason, ListEnd("cluster-1", {1: 7, 0: 12}))
    assert found["cluster_id"] == "cluster-1"
    assert found["next"] == ["0/12", "1/7"]
    assert found["reasons"]["missing_field"] == {
        "letters": 3,
        "replayed": 1,
        "first": 1_700_000_000.0,
        "last": 1_700_000_002.0,
        "newest": "3/2",
    }
    narrow = text_of(reasons_table(by_reason), 80)
    assert max(map(len, narrow.splitlines())) <= 80
    assert "2023-11-14" in narrow


def test_the_newest_letters_of_a_reason_are_listed() -> None:
    newest = Newest(2)
    for number in (4, 1, 3, 2):
        newest.add(letter(offset=number, at_ms=T0_MS + number), replayed=number == 3)
    assert [(each.place.offset, replayed) for each, replayed in newest.letters()] == [(3, True), (4, False)]
    assert "the newest 2 of 4" in text_of(letters_table(newest))
    found = letters_json(newest)
    assert (found["letters"], [each["place"] for each in found["newest"]]) == (4, ["3/3", "3/4"])


def test_a_single_letter_is_shown_completely() -> None:
    shown = letter_text(letter(b'{"a":1}', offset=7), ReplayMark(1, T0_MS / 1000, 2, 8812), "p-orders")
    assert "3/7" in shown
    assert "p-orders 0/5" in shown
    assert "replayed      2023-11-14 22:13:20.000Z, as p-orders 2/8812" in shown
    assert r"header trace  \x1b[31m" in shown
    assert '7 bytes:\n{\n  "a": 1\n}' in shown
    shown = letter_text(damaged(None), None, "p-orders")
    assert "came from      (unknown)" in shown
    assert r"header a\x1bb  \xff" in shown
    assert letter_json(damaged(b"\xff"))["value"] == {"base64": "/w=="}
    assert json.dumps(letter_json(damaged(None)))


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (letter(partition=5), ""),
        (letter(b"x" * 999_000), ""),
        (damaged(), "headers"),
        (letter(topic="orders"), "did not come from p-orders"),
        (letter(topic="p-processed-orders"), "did not come from p-orders"),
        (letter(partition=6), "partition"),
        (letter(b"x" * 1_000_000), "larger"),
    ],
)
def test_letters_that_cannot_be_replayed_have_a_reason(found: DeadLetter, why: str) -> None:
    assert bool(obstacle(found, TOPICS)) == bool(why)
    assert why in obstacle(found, TOPICS)


def test_a_replayed_order_has_a_header_with_its_origin_if_it_fits() -> None:
    trace = ("trace", b"\x1b[31m")
    assert replay_headers(letter(offset=7), TOPICS) == [trace, ("replayed.from", b"p-orders-dlq/3/7")]
    assert replay_headers(letter(b"x" * 999_890), TOPICS) == [trace]
    assert replay_headers(letter(b"x" * 999_920), TOPICS) == []


def test_a_replayed_order_has_the_senders_headers_and_its_origin() -> None:
    plain = letter(offset=7)
    sent = (("traceparent", b"00-1"), ("tenant", None), ("replayed.from", b"p-orders-dlq/0/1"))
    origin = ("replayed.from", b"p-orders-dlq/3/7")
    replayed = replace(plain, headers=(*plain.headers[:-1], *sent))
    assert replay_headers(replayed, TOPICS) == [*sent[:2], origin]


def test_a_plan_has_counts_and_positions() -> None:
    plan = Plan(TOPICS, 60, T0_MS / 1000)
    old = b'{"timestamp":%d}' % (T0_MS // 1000 - 600)
    plan.add(letter(old), replayed=False)
    plan.add(letter(), replayed=True)
    for number in range(7):
        plan.add(letter(topic="other", offset=number), replayed=False)
    shown = plan_text(plan)
    assert "9 dead letters selected" in shown
    assert "1 replayed before: skipped" in shown
    assert "7 cannot be replayed, because they did not come from p-orders: 3/0, 3/1, 3/2, 3/3, 3/4, ..." in shown
    assert "1 to be replayed into p-orders: missing_field 1" in shown
    assert "1 of these have an event time whose window has ended" in shown
    plan = Plan(TOPICS, 60, T0_MS / 1000)
    for number in (1, 2):  # the processor has read the same record twice
        plan.add(replace(letter(), place=Place(3, number)), replayed=False)
    assert plan.due.total() == 1
    assert "1 cannot be replayed, because their records have another dead letter, which is replayed: 3/2" in plan_text(
        plan
    )
    assert plan_text(Plan(TOPICS, 60, 0.0)).splitlines() == [
        "0 dead letters selected",
        "  0 to be replayed into p-orders",
    ]


@pytest.mark.parametrize(
    ("value", "ended"),
    [
        (b'{"timestamp":0}', True),
        (b'{"timestamp":119.5}', True),
        (b'{"timestamp":120}', False),
        (b'{"timestamp":1e308}', False),
        (b'{"timestamp":true}', False),
        (b'{"timestamp":"0"}', False),
        (b"[0]", False),
        (b'"timestamp"', False),
        (b"{}", False),
        (b"", False),
        (None, False),
    ],
)
def test_the_plan_counts_orders_whose_windows_have_ended(value: bytes | None, ended: bool) -> None:
    assert window_has_ended(letter(value), 60, 120.0) is ended


def test_letters_are_selected_by_reason_or_all() -> None:
    assert letter() in Selection()
    assert letter() in Selection(reasons=["malformed", "missing_field"])
    assert letter() not in Selection(reasons=["malformed"])
    assert damaged() in Selection(reasons=["damaged_headers"])
    assert Selection(places=[Place(1, 2)]).reasons == ()
