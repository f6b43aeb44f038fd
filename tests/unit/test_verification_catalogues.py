"""After a change of the catalogue, the result by any of the catalogues is correct."""

import json
from collections.abc import Iterable

import pytest
from rich.console import Console

from verification.ledger import Ledger
from verification.packed_order import Source
from verification.reference_processor import Catalogue, ReferenceProcessor
from verification.report import Damage, Report
from verification.table import render
from verification.window_sums import WindowSums

BEFORE: Catalogue = {
    "same": {"product_name": "Lamp", "category": "Home"},
    "renamed": {"product_name": "Desk", "category": "Home", "rank": "3"},
    "dropped": {"product_name": "Sofa", "category": "Home"},
}
AFTER: Catalogue = {
    "same": {"category": "Home", "product_name": "Lamp"},
    "renamed": {"product_name": "Table", "category": "Home"},
    "added": {"product_name": "Chair", "category": "Home"},
}
NOW_S = 1_700_000_000.0
NOW_MS = 1_700_000_000_000


def order(product: str, order_id: str = "o", **more: object) -> dict[str, object]:
    return {"order_id": order_id, "user_id": "u", "product_id": product, "amount": 1.25, "timestamp": NOW_S, **more}


def allowed(catalogues: Iterable[Catalogue], fields: dict[str, object]) -> tuple[bool, set[str], int]:
    """Whether it may be an order, the reasons for a dead letter, and the number of correct enrichments."""
    outcome = ReferenceProcessor(*catalogues).allowed_outcome(json.dumps(fields).encode(), NOW_S, NOW_S)
    return outcome.order is not None, set(outcome.reasons), len(outcome.rests)


@pytest.mark.parametrize("catalogues", [(BEFORE, AFTER), (AFTER, BEFORE), (AFTER, BEFORE, BEFORE)])
def test_the_result_with_any_catalogue_is_allowed(catalogues: tuple[Catalogue, ...]) -> None:
    assert allowed(catalogues, order("same")) == (True, set(), 1)
    assert allowed(catalogues, order("renamed")) == (True, set(), 2)
    for product in ("added", "dropped"):
        assert allowed(catalogues, order(product)) == (True, {"unknown_product"}, 1)
        assert allowed(catalogues, order(product, "")) == (False, {"unknown_product", "invalid_id"}, 0)
    assert allowed(catalogues, order("never")) == (False, {"unknown_product"}, 0)


def enriched(catalogue: Catalogue, fields: dict[str, object]) -> dict[str, object]:
    return {**fields, **catalogue[str(fields["product_id"])]}


class Books:
    """A ledger by ``catalogues`` (both) of one partition of ``orders``, in which the first ``due`` records must have been processed."""

    def __init__(
        self,
        *records: dict[str, object],
        due: int | None = None,
        catalogues: Iterable[Catalogue] = (BEFORE, AFTER),
    ) -> None:
        self.report = Report()
        self.sums = WindowSums(60)
        snapshot = {0: len(records) if due is None else due}
        self.ledger = Ledger(ReferenceProcessor(*catalogues), self.sums, snapshot, self.report)
        self._values = [json.dumps(each).encode() for each in records]
        for offset, value in enumerate(self._values):
            self.ledger.add_source(Source(0, offset), None, value, NOW_MS, NOW_S, timestamp_type=1)

    def reject(self, *offsets: int, reason: bytes = b"unknown_product") -> None:
        for offset in offsets:
            source = {"source.topic": b"orders", "source.partition": b"0", "source.offset": b"%d" % offset}
            headers = source | {"error.reason": reason}
            self.ledger.add_dead_letter(headers, "orders", None, self._values[offset], NOW_MS)

    def found(self, *processed: dict[str, object]) -> dict[Damage, int]:
        self.ledger.settle()
        for each in processed:
            self.ledger.add_processed(json.dumps(each).encode(), read_by_analytics=True)
        self.ledger.close()
        return self.report.damage


def found(record: dict[str, object], processed: list[dict[str, object]], rejected: int = 0) -> dict[Damage, int]:
    books = Books(record)
    books.reject(*[0] * rejected)
    return books.found(*processed)


@pytest.mark.parametrize("product", ["same", "renamed", "dropped"])
def test_an_order_has_the_fields_of_one_catalogue_that_has_its_product(product: str) -> None:
    record = order(product)
    right = [enriched(each, record) for each in (BEFORE, AFTER) if product in each]
    for each in right:
        assert found(record, [each]) == {}
        assert found(record, [each, each]) == {Damage.DUPLICATED: 1}
        assert found(record, [each | {"category": "Garden"}]) == {Damage.CHANGED: 1}
    assert found(record, [record]) == {Damage.CHANGED: 1}


def test_the_fields_of_two_catalogues_are_not_mixed() -> None:
    record = order("renamed")
    assert found(record, [enriched(AFTER, record) | {"rank": "3"}]) == {Damage.CHANGED: 1}
    assert found(record, [enriched(BEFORE, record), enriched(AFTER, record)]) == {Damage.DUPLICATED: 1}


def test_extra_fields_of_an_order_stay_unless_its_catalogue_replaces_them() -> None:
    record = order("renamed", rank=7, note=[1])
    assert found(record, [enriched(BEFORE, record)]) == {}
    assert found(record, [enriched(AFTER, record)]) == {}
    assert found(record, [enriched(AFTER, order("renamed", note=[1]))]) == {Damage.CHANGED: 1}


def test_an_order_whose_product_a_catalogue_lacks_is_either_processed_or_rejected() -> None:
    record = order("added")
    processed = enriched(AFTER, record)
    assert found(record, [processed]) == {}
    assert found(record, [], rejected=1) == {}
    assert found(record, [], rejected=0) == {Damage.LOST: 1}
    assert found(record, [processed], rejected=1) == {Damage.UNEXPECTED: 1}
    assert found(record, [processed, processed]) == {Damage.DUPLICATED: 1}
    assert found(record, [], rejected=2) == {Damage.DEAD_LETTER_DUPLICATED: 1}


def test_an_order_whose_product_all_catalogues_have_is_never_rejected() -> None:
    for product in ("same", "renamed"):
        record = order(product)
        wrongly = {Damage.DEAD_LETTER_UNEXPECTED: 1}
        assert found(record, [enriched(BEFORE, record)], rejected=1) == wrongly
        assert found(record, [], rejected=1) == wrongly
        assert found(record, [], rejected=2) == {Damage.DEAD_LETTER_UNEXPECTED: 2}


def test_an_order_whose_product_no_catalogue_has_is_rejected() -> None:
    record = order("never")
    assert found(record, [], rejected=1) == {}
    assert found(record, [record]) == {Damage.UNEXPECTED: 1, Damage.DEAD_LETTER_LOST: 1}


def test_a_replayed_order_and_its_dead_letter_are_distinguished() -> None:
    record = order("added")
    processed = enriched(AFTER, record)
    for outputs, expected in (
        ([processed], {}),
        ([], {Damage.LOST: 1}),
        ([processed, processed], {Damage.DUPLICATED: 1}),
    ):
        books = Books(record, record)
        books.reject(0)
        assert books.found(*outputs) == expected


def test_the_new_catalogue_alone_does_not_report_a_replayed_order_as_lost() -> None:
    record = order("added")
    wrongly = {Damage.DEAD_LETTER_UNEXPECTED: 1}
    for outputs, expected, count in (
        ([enriched(AFTER, record)], wrongly, 1),
        ([], wrongly | {Damage.LOST: 1}, 1),
        ([enriched(AFTER, record)] * 2, wrongly, 2),
    ):
        for due in (0, 1, 2):
            books = Books(record, record, due=due, catalogues=[AFTER])
            books.reject(0)
            if outputs or due == 2:  # a record after the snapshot need not have been processed
                assert books.found(*outputs) == expected
                assert books.sums.accepted_count() == count


def test_of_an_order_with_two_forms_the_one_without_a_dead_letter_is_lost() -> None:
    records = [order("added", note=each) for each in "ab"]
    books = Books(*records, catalogues=[AFTER])
    books.reject(0)
    assert books.found(enriched(AFTER, records[0])) == {Damage.DEAD_LETTER_UNEXPECTED: 1, Damage.LOST: 1}
    assert books.report.examples[Damage.LOST] == ["orders[0]@1"]


ADVICE = "If the catalogue has changed, repeat --catalogue for each version"


def shown(report: Report) -> str:
    console = Console(width=160, color_system=None)
    with console.capture() as capture:
        console.print(render(report))
    return capture.get()


def test_processed_orders_of_products_that_the_catalogue_lacks_may_come_from_another_one() -> None:
    for record in (order("dropped"), order("renamed")):
        books = Books(record, catalogues=[AFTER])
        assert books.found(enriched(BEFORE, record))
        assert ADVICE in shown(books.report)


@pytest.mark.parametrize("amount", [1.25, -1.0])
def test_dead_letters_of_products_that_the_catalogue_has_may_come_from_another_one(amount: float) -> None:
    books = Books(order("added", amount=amount), catalogues=[AFTER])
    books.reject(0)
    assert books.found()
    assert ADVICE in shown(books.report)


def test_no_other_catalogue_explains_other_differences() -> None:
    record = order("same")
    for processed, rejected in (([], []), ([enriched(BEFORE, record)] * 2, []), ([enriched(BEFORE, record)], [0])):
        books = Books(record)
        books.reject(*rejected, reason=b"invalid_amount")
        assert books.found(*processed)
        assert ADVICE not in shown(books.report)
    books = Books(record)
    assert books.found(enriched(BEFORE, record), enriched(BEFORE, order("same", "another"))) == {Damage.UNEXPECTED: 1}
    assert ADVICE not in shown(books.report)


def test_due_orders_are_settled_before_dead_letters_of_newer_ones_are_read() -> None:
    """So that the verification waits for their windows, but not for those of dead letters."""
    records = [order("added", name) for name in ("rejected", "processed", "newer-rejected", "newer-processed")]
    books = Books(*records, due=2)
    books.reject(0)
    books.ledger.settle(only_due=True)
    assert books.sums.accepted_count() == 1
    books.reject(2)
    assert books.found(*(enriched(AFTER, records[place]) for place in (1, 3))) == {}
    assert books.sums.accepted_count() == 2
