"""`pipeline dead-letters list`, `show` and `replay`."""

import gc
from collections.abc import Callable, Coroutine
from typing import Annotated, Any, TypeVar

from cyclopts import Parameter
from cyclopts.types import PositiveInt

from cli.confirmation import check_can_ask
from cli.context import context_of
from cli.errors import UsageError
from cli.kafka import address_of, run_in_kafka
from cli.options import FOUND, PipelineOptions
from cli.output import messages, print_json, print_line, print_table
from dead_letters.as_json import letter_json, letters_json, reasons_json
from dead_letters.commands import Pipeline, find_letter, gather, plan_replay
from dead_letters.commands import replay as replay_letters
from dead_letters.dead_letter import Place, parse_place
from dead_letters.rendering import letter_text, letters_table, plan_text, reasons_table
from dead_letters.selection import Selection
from dead_letters.summaries import ByReason, Newest
from libs.confirmation import confirmed
from libs.events.rights import DEAD_LETTERS, DEAD_LETTERS_READER
from libs.runtime.logs import configure_logging
from libs.runtime.rights.right import Role

T = TypeVar("T")

Reasons = Annotated[list[str] | None, Parameter(consume_multiple=False)]


def list_letters(
    *,
    reason: Reasons = None,
    limit: PositiveInt = 20,
    from_: Annotated[list[str] | None, Parameter(name="--from", consume_multiple=True)] = None,
    json: bool = False,
    pipeline: PipelineOptions = FOUND,
) -> None:
    """Count dead letters by reason, or list those of one reason.

    Args:
        reason: List the newest dead letters of this reason; may be repeated.
        limit: Number of dead letters to list.
        from_: Skip what is older: for each partition the first offset to read, as partition/offset (3/1207). "next" in the JSON
            has the values that continue after this list, in the cluster of its "cluster_id".
        json: Print JSON. Without --reason it has "next", where this list ended.
    """
    since = [_place(each) for each in from_ or ()]
    where = _pipeline(pipeline)
    selection = Selection(reasons=reason or [])
    found = Newest(limit) if reason else ByReason()
    end = _run(lambda progress: gather(where, selection, found, progress, since), where, DEAD_LETTERS_READER)
    if isinstance(found, Newest):
        if json:
            print_json(letters_json(found))
        else:
            print_table(letters_table(found))
    elif json:
        print_json(reasons_json(found, end))
    elif found.sums:
        print_table(reasons_table(found))
    else:
        print_line("there are no dead letters")


def show(place: str, /, *, json: bool = False, pipeline: PipelineOptions = FOUND) -> None:
    """Show one dead letter with its value and headers.

    Args:
        place: Partition and offset in orders-dlq, as `list` prints it: 3/1207.
        json: Print JSON.
    """
    at = _place(place)
    where = _pipeline(pipeline)
    letter, mark, topics = _run(lambda _: find_letter(where, at), where, DEAD_LETTERS_READER)
    if json:
        print_json(letter_json(letter, mark))
    else:
        print_line(letter_text(letter, mark, topics.orders))


def replay(
    *places: str,
    reason: Reasons = None,
    all: bool = False,
    dry_run: bool = False,
    yes: bool = False,
    pipeline: PipelineOptions = FOUND,
) -> None:
    """Write dead letters back to the partitions of `orders` that they came from.

    Each is replayed exactly once, even if the command is interrupted and repeated. Dead letters that arrive after the start are
    not replayed.

    Args:
        places: Dead letters to replay, by partition and offset in orders-dlq: 3/1207.
        reason: Replay the dead letters of this reason; may be repeated.
        all: Replay all dead letters.
        dry_run: Print what would be replayed, and write nothing.
        yes: Do not ask for confirmation.
    """
    selection = Selection([_place(each) for each in places], reason or [])
    if sum(map(bool, (places, reason, all))) != 1:
        raise UsageError("say which dead letters", advice="by partition/offset, by --reason, or --all")
    check_can_ask(yes or dry_run, "--yes replays without asking, --dry-run prints what would be replayed")
    where = _pipeline(pipeline)
    role = DEAD_LETTERS_READER if dry_run else DEAD_LETTERS
    plan, ends = _run(lambda progress: plan_replay(where, selection, progress), where, role)
    print_line(plan_text(plan))
    due = plan.due.total()
    if not due:
        return
    if dry_run:
        print_line("nothing was written (--dry-run)")
        return
    if not yes and not confirmed("Replay them?"):
        print_line("nothing was written")
        return
    written = _run(lambda progress: replay_letters(where, selection, ends, due, progress), where, DEAD_LETTERS)
    meanwhile = f"; {due - written:,} were replayed or deleted meanwhile" if written < due else ""
    print_line(f"replayed {written:,}{meanwhile}")


def _pipeline(options: PipelineOptions) -> Pipeline:
    configure_logging("dead-letters", "error", None)
    gc.set_threshold(100_000, 50, 100)  # millions of short-lived objects without reference cycles
    context = context_of(options)
    return Pipeline(address_of(context), context.topic_prefix, context.window_seconds)


def _run(work: Callable[[Callable[[str], None]], Coroutine[Any, Any, T]], where: Pipeline, role: Role) -> T:
    with messages.status("connecting") as status:  # shown on a terminal only
        return run_in_kafka(lambda: work(status.update), where.kafka, where.topic_prefix, role)


def _place(text: str) -> Place:
    try:
        return parse_place(text)
    except ValueError as error:
        raise UsageError(str(error)) from None
