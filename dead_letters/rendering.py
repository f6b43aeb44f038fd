"""Letters and plans as text for a terminal."""

from collections.abc import Iterable

from rich import box
from rich.table import Table
from rich.text import Text

from dead_letters.dead_letter import DeadLetter
from dead_letters.replay_marks import ReplayMark
from dead_letters.selection import Plan
from dead_letters.summaries import ByReason, Newest
from libs.printable import pretty, printable, time_of

_EXCERPT_CHARS = 70
_REASON_CHARS = 40
_DATE_CHARS = 10


def reasons_table(by_reason: ByReason) -> Table:
    """A line for each reason, the most frequent first."""
    table = _table("Dead letters")
    table.add_column("reason", no_wrap=True)
    table.add_column("letters", justify="right", no_wrap=True)
    table.add_column("replayed", justify="right", no_wrap=True)
    table.add_column("first", min_width=_DATE_CHARS)
    table.add_column("last", min_width=_DATE_CHARS)
    table.add_column("newest", no_wrap=True)
    table.add_column("its value")
    for reason, each in sorted(by_reason.sums.items(), key=lambda item: (-item[1].letters, item[0])):
        table.add_row(
            Text(printable(reason, _REASON_CHARS)),
            f"{each.letters:,}",
            f"{each.replayed:,}",
            time_of(each.first_ms),
            time_of(each.newest.timestamp_ms),
            str(each.newest.place),
            _excerpt(each.newest.value),
        )
    return table


def letters_table(newest: Newest) -> Table:
    """A line for each of the newest letters."""
    shown = newest.letters()
    table = _table(f"Dead letters: the newest {len(shown):,} of {newest.count:,}")
    table.add_column("place", no_wrap=True)
    for heading in ("came from", "at", "replayed", "message", "value"):
        table.add_column(heading)
    for letter, replayed in shown:
        table.add_row(
            str(letter.place),
            Text(_source(letter, _REASON_CHARS)),
            time_of(letter.timestamp_ms),
            "yes" if replayed else "",
            _excerpt(letter.message),
            _excerpt(letter.value),
        )
    return table


def letter_text(letter: DeadLetter, mark: ReplayMark | None, orders: str) -> str:
    """One letter with all fields."""
    replayed = "no"
    if mark:
        replayed = f"{time_of(mark.replayed_at_s * 1000, 'milliseconds')}, as {orders} {mark.partition}/{mark.offset}"
    lines = [
        ("place", str(letter.place)),
        ("reason", printable(letter.reason)),
        ("message", printable(letter.message)),
        ("came from", _source(letter)),
        ("at", time_of(letter.timestamp_ms, "milliseconds")),
        ("replayed", replayed),
        ("key", printable(letter.key)),
        *((f"header {printable(name)}", printable(value)) for name, value in letter.other_headers()),
    ]
    width = max(len(name) for name, _ in lines)
    size = "" if letter.value is None else f", {len(letter.value):,} bytes"
    facts = "\n".join(f"{name:<{width}}  {value}" for name, value in lines)
    if letter.is_without_value():
        return f"{facts}\nvalue: not kept, it was too large; its size and digest are in the headers"
    return f"{facts}\nvalue{size}:\n{pretty(letter.value)}"


def plan_text(plan: Plan) -> str:
    """What a replay would do, with warnings."""
    lines = [f"{_letters(plan.selected)} selected"]
    if plan.replayed_before:
        lines.append(f"  {plan.replayed_before:,} replayed before: skipped")
    for why, count in plan.left.items():
        places = ", ".join(map(str, plan.left_examples[why])) + (
            ", ..." if count > len(plan.left_examples[why]) else ""
        )
        lines.append(f"  {count:,} cannot be replayed, because {why}: {places}")
    reasons = ", ".join(f"{printable(reason, _REASON_CHARS)} {count:,}" for reason, count in plan.due.most_common())
    lines.append(
        f"  {plan.due.total():,} to be replayed into {plan.topics.orders}" + (f": {reasons}" if reasons else "")
    )
    if plan.window_ended:
        lines.append(
            f"  {plan.window_ended:,} of these have an event time whose window has ended:"
            " an order goes to late-orders when its window is closed"
        )
    return "\n".join(lines)


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)


def _excerpt(value: bytes | str | None) -> Text:
    # These columns shrink if the terminal is narrow.
    return Text(printable(value, _EXCERPT_CHARS), no_wrap=True, overflow="ellipsis")


def _letters(count: int) -> str:
    return f"{count:,} dead letter{'' if count == 1 else 's'}"


def _source(letter: DeadLetter, most_chars: int | None = None) -> str:
    source = letter.rejection
    return f"{printable(source.topic, most_chars)} {source.partition}/{source.offset}" if source else "(unknown)"


def reasons_found(reasons: Iterable[str]) -> str:
    """The existing reasons, for a message."""
    return ", ".join(sorted(printable(reason, _REASON_CHARS) for reason in reasons)) or "none"
