"""Each kind of damage to a small pipeline's output is found, and an undamaged one passes."""

import copy
import dataclasses
import json
from collections.abc import Callable

import pytest

from tests.unit.verified_outputs import (
    BROKERS,
    LATE,
    NOW_S,
    REFERENCE,
    SNAPSHOT,
    START,
    DeadLetter,
    Outputs,
    dump,
    enriched,
    order,
)
from verification.ledger import Ledger
from verification.metrics import Metric
from verification.report import Damage, Report
from verification.window_sums import WindowSums


def test_undamaged_outputs_pass() -> None:
    report = Outputs().verify()
    assert report.damage == {}
    assert report.ok
    assert (report.sent, report.processed, report.dead_letters) == (8, 6, {"malformed": 1, "invalid_amount": 1})
    assert (report.accepted, report.in_closed_windows, report.in_open_windows, report.late) == (6, 4, 1, 1)
    assert (report.closed_windows, report.open_windows, report.lines) == (1, 1, 1)


def test_of_two_orders_with_other_fields_either_may_be_late() -> None:
    for note in ("first", "second"):
        outputs = Outputs()
        both = [{**LATE, "note": each} for each in ("first", "second")]
        outputs.orders[2:3] = [dump(each) for each in both]
        outputs.processed[-1:] = [enriched(each) for each in both]
        outputs.late = [enriched({**LATE, "note": note})]
        outputs.snapshot = {0: 5, 1: 4}
        outputs.metrics = outputs.lines = [Metric(START, START + 60, "prod-1", 5, 1376, 275)]
        assert outputs.verify().damage == {}


def test_newer_orders_are_counted_once_the_analytics_has_read_them() -> None:
    new = enriched(order("new", 7, "prod-2", START + 61))
    outputs = Outputs(processed_newer=[new])
    assert outputs.verify().ok
    assert outputs.verify().accepted == 6
    outputs = Outputs()
    outputs.processed.append(new)
    outputs.metrics.append(Metric(START + 60, START + 120, "prod-2", 2, 1200, 600))
    outputs.lines = outputs.metrics
    report = outputs.verify()
    assert report.damage == {}
    assert report.accepted == 7


def test_a_newer_late_order_is_not_missing_from_the_metric() -> None:
    new = order("new", 7)
    outputs = Outputs(newer=[dump(new)], processed_newer=[enriched(new)])
    outputs.late.append(enriched(new))
    report = outputs.verify()
    assert report.damage == {}
    assert report.late == 1


def test_an_order_is_late_only_if_event_time_has_passed_its_window_before() -> None:
    late = Outputs().processed.index(enriched(LATE))
    for passed_s, damage in ((START + 59.9, {Damage.LATE_TOO_EARLY: 1}), (START + 60, {})):
        report = Outputs(passed_s={late: passed_s}).verify()
        assert report.damage == damage
        assert report.late == 1


@pytest.mark.parametrize("late_copies", [1, 2])
def test_of_two_equal_orders_only_the_one_after_its_window_is_late(late_copies: int) -> None:
    outputs = Outputs(passed_s={0: START})
    outputs.orders.append(dump(LATE))
    outputs.processed.insert(0, enriched(LATE))
    outputs.late = [enriched(LATE)] * late_copies
    outputs.snapshot = {0: 5, 1: 4}
    if late_copies == 1:
        outputs.metrics = outputs.lines = [Metric(START, START + 60, "prod-1", 5, 1376, 275)]
    report = outputs.verify()
    assert report.damage == ({} if late_copies == 1 else {Damage.LATE_TOO_EARLY: 1})
    assert report.late == late_copies


def replayed_outputs() -> tuple[Outputs, bytes]:
    """An order was rejected by a catalogue that is not given; its replay by partition 0's offset 5 is alone in its window, and late."""
    record = order("replayed", 7, "prod-2")
    outputs = Outputs(snapshot={0: 6, 1: 4})
    outputs.orders += [dump(record)] * 2
    outputs.dead.append(DeadLetter(4, "unknown_product", b"k", dump(record), partition=0))
    return outputs, enriched(record)


def test_a_late_replay_of_an_order_is_not_lost_and_its_window_has_no_metric() -> None:
    outputs, late = replayed_outputs()
    outputs.processed.append(late)
    outputs.late.append(late)
    report = outputs.verify()
    assert report.damage == {Damage.DEAD_LETTER_UNEXPECTED: 1}
    assert (report.accepted, report.late) == (7, 2)


def test_a_replay_of_an_order_that_is_on_time_is_counted_once() -> None:
    outputs, processed = replayed_outputs()
    outputs.processed.append(processed)
    outputs.metrics.append(Metric(START, START + 60, "prod-2", 1, 700, 700))
    outputs.lines = outputs.metrics
    assert outputs.verify().damage == {Damage.DEAD_LETTER_UNEXPECTED: 1}


def test_a_replay_of_an_order_that_is_lost_is_reported() -> None:
    outputs, _ = replayed_outputs()
    report = outputs.verify()
    assert report.damage == {Damage.DEAD_LETTER_UNEXPECTED: 1, Damage.LOST: 1, Damage.WINDOW_MISSING: 1}
    assert report.examples[Damage.LOST] == ["orders[0]@5"]


def test_a_dead_letter_with_other_content_is_no_result_of_its_order() -> None:
    outputs, late = replayed_outputs()
    outputs.processed.append(late)
    outputs.late.append(late)
    outputs.dead[-1] = dataclasses.replace(outputs.dead[-1], value=dump(order("other", 7, "prod-2")))
    damage = outputs.verify().damage
    assert damage == {Damage.DEAD_LETTER_UNEXPECTED: 1, Damage.LOST: 1, Damage.WINDOW_MISSING: 1}


def test_a_newer_order_may_have_been_validated_at_any_later_time() -> None:
    new = order("new", 7, "prod-2", NOW_S + 1000)
    outputs = Outputs(newer=[dump(new)], processed_newer=[enriched(new)])
    assert outputs.verify().damage == {}
    outputs = Outputs(newer=[dump(new)])
    outputs.dead.append(DeadLetter(4, "future_timestamp", b"k", dump(new), partition=0))
    assert outputs.verify().damage == {}


ARRIVED_S = 1_700_000_100.0


@pytest.mark.parametrize("newer", [False, True])
def test_a_record_with_a_broker_timestamp_is_validated_by_its_arrival(newer: bool) -> None:
    """Regardless of the time of reading: slightly more than a minute ahead must be a dead letter, a minute must not."""
    partition, offset = (0, 4) if newer else (1, 0)
    for ahead_s, must_be_dead in ((60.0, False), (60.5, True)):
        record = order("f", 3, "prod-2", ARRIVED_S + ahead_s)
        passed_on = Outputs(timestamp_type=BROKERS)
        (passed_on.newer if newer else passed_on.others)[0] = dump(record)
        if not newer:
            del passed_on.dead[0]
        rejected = copy.deepcopy(passed_on)
        passed_on.processed.append(enriched(record))
        rejected.dead.append(DeadLetter(offset, "future_timestamp", b"k", dump(record), partition=partition))
        assert passed_on.verify().ok is not must_be_dead
        assert rejected.verify().ok is must_be_dead


def test_a_window_that_closed_during_the_verification_may_be_in_the_file_or_not() -> None:
    newer = Metric(START + 60, START + 120, "prod-2", 1, 500, 500)
    outputs = Outputs(passed=True, newer_metrics=[newer])
    assert outputs.verify().damage == {}
    outputs.lines.append(newer)
    assert outputs.verify().damage == {}
    outputs.lines.append(newer)
    assert outputs.verify().damage == {Damage.LINE_DUPLICATED: 1}


def test_equal_orders_are_distinguished_by_their_additional_fields() -> None:
    outputs = Outputs()
    marked = order("twin") | {"note": 2}
    outputs.others[3] = dump(marked)
    outputs.processed[1] = enriched(marked)
    assert outputs.verify().damage == {}


def test_a_timestamp_between_the_limits_may_be_accepted_or_rejected() -> None:
    future = dump(order("f", 3, "prod-2", 1_700_000_200))
    outputs = Outputs()
    outputs.others[0] = future
    outputs.dead[0] = DeadLetter(0, "future_timestamp", b"k", future)
    assert outputs.verify().damage == {}
    outputs.dead.pop(0)
    outputs.processed.append(enriched(order("f", 3, "prod-2", 1_700_000_200)))
    assert outputs.verify().damage == {}
    outputs.processed.pop()
    assert outputs.verify().damage == {Damage.LOST: 1}


def lose_an_order(outputs: Outputs) -> None:
    outputs.processed.pop(0)


def lose_one_of_two_equal_orders(outputs: Outputs) -> None:
    outputs.processed.pop(1)


def double_an_order(outputs: Outputs) -> None:
    outputs.processed.append(outputs.processed[0])


def triple_a_twin(outputs: Outputs) -> None:
    outputs.processed.append(outputs.processed[1])


def invent_an_order(outputs: Outputs) -> None:
    outputs.processed.append(enriched(order("invented")))


def process_a_faulty_record(outputs: Outputs) -> None:
    outputs.processed.append(enriched(order("x", 0)))


def change_the_product_name(outputs: Outputs) -> None:
    outputs.processed[0] = outputs.processed[0].replace(b"Lamp", b"Desk")


def break_a_processed_order(outputs: Outputs) -> None:
    outputs.processed.append(b"{")


def lose_a_dead_letter(outputs: Outputs) -> None:
    outputs.dead.pop()


def double_a_dead_letter(outputs: Outputs) -> None:
    outputs.dead.append(outputs.dead[0])


def reject_a_valid_order(outputs: Outputs) -> None:
    outputs.dead.append(DeadLetter(2, "malformed", b"k", outputs.others[2]))


def name_another_topic(outputs: Outputs) -> None:
    outputs.dead.append(dataclasses.replace(outputs.dead[0], topic="other"))


def change_the_value_of_a_dead_letter(outputs: Outputs) -> None:
    outputs.dead[0] = dataclasses.replace(outputs.dead[0], value=b"{ ")


def change_the_key_of_a_dead_letter(outputs: Outputs) -> None:
    outputs.dead[0] = dataclasses.replace(outputs.dead[0], key=None)


def change_the_time_of_a_dead_letter(outputs: Outputs) -> None:
    outputs.dead[0] = dataclasses.replace(outputs.dead[0], timestamp_ms=0)


def give_the_wrong_reason(outputs: Outputs) -> None:
    outputs.dead[0] = dataclasses.replace(outputs.dead[0], reason="wrong_type")


def invent_a_late_order(outputs: Outputs) -> None:
    outputs.late.append(enriched(order("z")))


def double_a_late_order(outputs: Outputs) -> None:
    outputs.late.append(outputs.late[0])


def change_the_product_name_of_a_late_order(outputs: Outputs) -> None:
    outputs.late[0] = dump({**LATE, "product_name": "Desk"})


def add_a_field_to_a_late_order(outputs: Outputs) -> None:
    outputs.late[0] = dump({**LATE, "product_name": "Lamp", "note": "x"})


def keep_no_late_order(outputs: Outputs) -> None:
    outputs.late.clear()


def count_wrong(outputs: Outputs) -> None:
    outputs.metrics[0] = outputs.lines[0] = outputs.metrics[0]._replace(order_count=3)


def sum_wrong_by_a_cent(outputs: Outputs) -> None:
    outputs.metrics[0] = outputs.lines[0] = outputs.metrics[0]._replace(revenue_cents=378)


def round_the_average_up(outputs: Outputs) -> None:
    outputs.metrics[0] = outputs.lines[0] = outputs.metrics[0]._replace(average_cents=95)


def double_a_metric(outputs: Outputs) -> None:
    outputs.metrics *= 2
    outputs.lines *= 2


def invent_a_metric(outputs: Outputs) -> None:
    outputs.metrics.append(Metric(START + 60, START + 120, "prod-1", 1, 1, 1))
    outputs.lines = outputs.metrics


def lose_a_metric(outputs: Outputs) -> None:
    outputs.metrics.clear()
    outputs.lines.clear()


def leave_a_passed_window_open(outputs: Outputs) -> None:
    outputs.passed = True


def lose_a_line(outputs: Outputs) -> None:
    outputs.lines.clear()


def double_a_line(outputs: Outputs) -> None:
    outputs.lines *= 2


def invent_a_line(outputs: Outputs) -> None:
    outputs.lines.append(Metric(0, 60, "prod-1", 1, 1, 1))


@pytest.mark.parametrize(
    ("harm", "found"),
    [
        (lose_an_order, {Damage.LOST: 1}),
        (lose_one_of_two_equal_orders, {Damage.LOST: 1}),
        (double_an_order, {Damage.DUPLICATED: 1}),
        (triple_a_twin, {Damage.DUPLICATED: 1}),
        (invent_an_order, {Damage.UNEXPECTED: 1}),
        (process_a_faulty_record, {Damage.UNEXPECTED: 1}),
        (change_the_product_name, {Damage.CHANGED: 1}),
        (break_a_processed_order, {Damage.UNREADABLE: 1}),
        (lose_a_dead_letter, {Damage.DEAD_LETTER_LOST: 1}),
        (double_a_dead_letter, {Damage.DEAD_LETTER_DUPLICATED: 1}),
        (reject_a_valid_order, {Damage.DEAD_LETTER_UNEXPECTED: 1}),
        (name_another_topic, {Damage.DEAD_LETTER_UNEXPECTED: 1}),
        (change_the_value_of_a_dead_letter, {Damage.DEAD_LETTER_CHANGED: 1}),
        (change_the_key_of_a_dead_letter, {Damage.DEAD_LETTER_CHANGED: 1}),
        (change_the_time_of_a_dead_letter, {Damage.DEAD_LETTER_CHANGED: 1}),
        (give_the_wrong_reason, {Damage.WRONG_REASON: 1}),
        (invent_a_late_order, {Damage.LATE_UNEXPECTED: 1}),
        (double_a_late_order, {Damage.LATE_UNEXPECTED: 1}),
        (change_the_product_name_of_a_late_order, {Damage.LATE_CHANGED: 1}),
        (add_a_field_to_a_late_order, {Damage.LATE_CHANGED: 1}),
        (keep_no_late_order, {Damage.WINDOW_WRONG: 1}),
        (count_wrong, {Damage.WINDOW_WRONG: 1}),
        (sum_wrong_by_a_cent, {Damage.WINDOW_WRONG: 1}),
        (round_the_average_up, {Damage.WINDOW_WRONG: 1}),
        (double_a_metric, {Damage.WINDOW_DUPLICATED: 1}),
        (invent_a_metric, {Damage.WINDOW_UNEXPECTED: 1}),
        (lose_a_metric, {Damage.WINDOW_MISSING: 1}),
        (leave_a_passed_window_open, {Damage.WINDOW_MISSING: 1}),
        (lose_a_line, {Damage.LINE_MISSING: 1}),
        (double_a_line, {Damage.LINE_DUPLICATED: 1}),
        (invent_a_line, {Damage.LINE_UNEXPECTED: 1}),
    ],
)
def test_damage_is_found(harm: Callable[[Outputs], None], found: dict[Damage, int]) -> None:
    outputs = Outputs()
    harm(outputs)
    report = outputs.verify()
    assert report.damage == found
    assert not report.ok
    json.dumps(report.as_json())


def test_a_late_order_without_a_processed_one_is_described() -> None:
    outputs = Outputs()
    invent_a_late_order(outputs)
    double_a_late_order(outputs)
    examples = outputs.verify().examples[Damage.LATE_UNEXPECTED]
    assert examples == ["orders[0]@2", f"prod-1, 1.25, event time {START + 1}.0"]


def test_of_many_late_orders_without_a_processed_one_the_first_are_described() -> None:
    outputs = Outputs()
    outputs.late.extend(enriched(order(f"z{number}", number + 1)) for number in range(7))
    report = outputs.verify()
    assert report.damage == {Damage.LATE_UNEXPECTED: 7}
    assert report.examples[Damage.LATE_UNEXPECTED] == [
        f"prod-1, {amount}.00, event time {START + 1}.0" for amount in range(1, 6)
    ]


@pytest.mark.parametrize("damaged", ["error.reason", "source.topic", "source.partition", "source.offset"])
@pytest.mark.parametrize("content", [None, b"\xff"])
def test_a_dead_letter_with_foreign_headers_is_reported(damaged: str, content: bytes | None) -> None:
    report = Report()
    ledger = Ledger(REFERENCE, WindowSums(60), SNAPSHOT, report)
    headers = DeadLetter(0, "malformed", None, b"{").headers | {damaged: content}
    ledger.add_dead_letter(headers, "orders", None, b"{", 0)
    assert report.damage == {Damage.UNREADABLE: 1}
