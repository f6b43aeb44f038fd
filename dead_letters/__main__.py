"""Lists dead letters by reason, shows one, and replays a selection of them into `orders`."""

import argparse
import asyncio
import gc
import json
import os
import sys
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from rich.console import Console

from dead_letters.as_json import letter_json, letters_json, reasons_json
from dead_letters.commands import Pipeline, gather, look_at, plan_replay, replay
from dead_letters.letter import Place, parse_place
from dead_letters.overview import ByReason, Newest
from dead_letters.rendering import letter_text, letters_table, plan_text, reasons_table
from dead_letters.selection import Selection
from libs.cli import allowed, kafka_of, pipeline_flags
from libs.events.rights import DEAD_LETTERS, DEAD_LETTERS_READER
from libs.runtime.errors import PipelineError, described
from libs.runtime.rights.right import Role
from libs.runtime.service.logs import configure_logging

T = TypeVar("T")

_messages = Console(stderr=True)


def main() -> None:
    """Run one command; exits with 0, with 1 when it cannot be done, with 2 when it makes no sense."""
    options = _parser().parse_args()
    configure_logging("dead-letters", "error", None)
    gc.set_threshold(100_000, 50, 100)  # letters come and go by the million, none of them in a cycle
    try:
        options.command(options)
    except PipelineError as error:
        _messages.print(f"dead letters: {described(error)}", style="bold red", soft_wrap=True, markup=False)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # Whoever read the output has gone, and Python would flush into the closed pipe once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _list(options: argparse.Namespace) -> None:
    selection = Selection(reasons=options.reason)
    found = Newest(options.limit) if options.reason else ByReason()
    pipeline = _pipeline(options)
    ends = _run(
        lambda progress: gather(pipeline, selection, found, progress, options.since), pipeline, DEAD_LETTERS_READER
    )
    if isinstance(found, Newest):
        _show(letters_json(found) if options.json else letters_table(found))
    elif options.json or found.sums:
        _show(reasons_json(found, ends) if options.json else reasons_table(found))
    else:
        _show("there are no dead letters")


def _show_one(options: argparse.Namespace) -> None:
    pipeline = _pipeline(options)
    letter, mark, topics = _run(lambda _: look_at(pipeline, options.place), pipeline, DEAD_LETTERS_READER)
    _show(letter_json(letter, mark) if options.json else letter_text(letter, mark, topics.orders))


def _replay(options: argparse.Namespace) -> None:
    pipeline = _pipeline(options)
    selection = Selection(options.places, options.reason)
    role = DEAD_LETTERS_READER if options.dry_run else DEAD_LETTERS
    plan, ends = _run(lambda progress: plan_replay(pipeline, selection, progress), pipeline, role)
    _show(plan_text(plan))
    due = plan.due.total()
    if not due:
        return
    if options.dry_run:
        _show("nothing was written (--dry-run)")
        return
    if not options.yes and input("Replay them? [y/N] ").strip().lower() not in ("y", "yes"):
        _show("nothing was written")
        return
    written = _run(lambda progress: replay(pipeline, selection, ends, due, progress), pipeline, DEAD_LETTERS)
    _show(
        f"replayed {written:,}" + (f"; {due - written:,} were replayed or deleted meanwhile" if written < due else "")
    )


def _pipeline(options: argparse.Namespace) -> Pipeline:
    return Pipeline(kafka_of(options), options.topic_prefix, options.window_seconds)


def _run(work: Callable[[Callable[[str], None]], Coroutine[Any, Any, T]], pipeline: Pipeline, role: Role) -> T:
    with _messages.status("connecting") as status:  # says nothing unless it writes to a terminal
        return asyncio.run(allowed(lambda: work(status.update), pipeline.kafka, pipeline.topic_prefix, role))


def _show(what: object) -> None:
    if isinstance(what, dict):
        sys.stdout.write(json.dumps(what, indent=2) + "\n")
    elif isinstance(what, str):
        sys.stdout.write(what + "\n")
    else:
        # Into a file or a pipe, a table as wide as it needs to be is easier to search than a folded one.
        Console(width=None if sys.stdout.isatty() else 200).print(what)
    sys.stdout.flush()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m dead_letters", description=__doc__, parents=[pipeline_flags()])
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    flags = pipeline_flags(in_subcommand=True)

    listing = commands.add_parser("list", parents=[flags], help="count them by reason, or list those of one reason")
    listing.add_argument("--reason", action="append", default=[], help="list the newest letters of this reason")
    listing.add_argument("--limit", type=_positive, default=20, metavar="N", help="how many of them (20)")
    listing.add_argument(
        "--from",
        dest="since",
        nargs="+",
        type=_place,
        default=[],
        metavar="PARTITION/OFFSET",
        help="of these partitions only letters from there on; the last list's `next` in its JSON: what has come since",
    )
    listing.add_argument("--json", action="store_true", help="print JSON")
    listing.set_defaults(command=_list)

    showing = commands.add_parser("show", parents=[flags], help="show all of one letter")
    showing.add_argument("place", type=_place, metavar="PARTITION/OFFSET", help="as `list` names it: 3/1207")
    showing.add_argument("--json", action="store_true", help="print JSON")
    showing.set_defaults(command=_show_one)

    replaying = commands.add_parser(
        "replay",
        parents=[flags],
        help="write letters back into orders",
        description="Writes letters back into the partitions of orders that they came from, each exactly once, however"
        " often this is cut short and run again. Letters that come up meanwhile are left.",
    )
    replaying.add_argument("places", nargs="*", type=_place, metavar="PARTITION/OFFSET", help="these letters")
    replaying.add_argument("--reason", action="append", default=[], help="all letters of this reason; may be repeated")
    replaying.add_argument("--all", action="store_true", help="all letters")
    replaying.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")
    replaying.add_argument("--yes", action="store_true", help="do not ask")
    replaying.set_defaults(command=lambda options: _checked_replay(replaying, options))
    return parser


def _checked_replay(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    if sum(map(bool, (options.places, options.reason, options.all))) != 1:
        parser.error("say which letters: their places, or --reason, or --all")
    if not (options.yes or options.dry_run or sys.stdin.isatty()):
        parser.error("nobody can be asked here: --yes replays without asking, --dry-run says what that would do")
    _replay(options)


def _place(text: str) -> Place:
    try:
        return parse_place(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _positive(text: str) -> int:
    if not (text.isdecimal() and 1 <= len(text) <= 9 and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is no positive number")
    return int(text)


if __name__ == "__main__":
    main()
