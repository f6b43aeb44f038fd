"""The command-line program: its subcommands, and how each of them ends.

A subcommand is named here by its import path: `pipeline --help` and the completion import none of them.
"""

import ast
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from cyclopts import App, CycloptsError, Group, Parameter

from cli.errors import UsageError
from libs.runtime.errors import PipelineError, SettingsError
from libs.version import VERSION

ROOT = Path(__file__).resolve().parents[1]

EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_DIFFERS = 3
EXIT_INTERRUPTED = 130

_HELP = """\
Runs, watches, verifies and repairs the real-time order pipeline.

The commands find the pipeline by themselves: --bootstrap, or else KAFKA_BOOTSTRAP_SERVERS, or else local mode, or else Docker
Compose at its published port. How to log in to Kafka is said by environment variables only.

Exit codes: 0 done, and nothing is wrong; 1 failed, or something is wrong; 2 a command line or setting that makes no sense;
3 (report) there is a report, and its sources differ; 130 Ctrl-C. All of this is in docs/cli.md, with the documents that --json prints.
"""

_LOCAL = Group("On this machine, without Docker", sort_key=1)
_PARTS = Group("Parts of it, while the rest goes on", sort_key=2)
_LOOK = Group("Look at a pipeline", sort_key=3)
_REPAIR = Group("Repair", sort_key=4)
_MEASURE = Group("Measure and break", sort_key=5)
_OWN = Group("This program", sort_key=6)

# Functions of modules in cli.commands.
_COMMANDS = {
    _LOCAL: ("local_mode:up", "local_mode:scale", "local_mode:logs", "local_mode:down"),
    _PARTS: ("parts:stop", "parts:start", "parts:restart", "parts:drain"),
    _LOOK: (
        "status:status",
        "watch:watch",
        "live:live",
        "verify:verify",
        "metrics:metrics",
        "report:report",
        "doctor:doctor",
    ),
    _REPAIR: ("recompute:recompute",),
    _MEASURE: ("bench:bench", "chaos:chaos"),
}
_DEAD_LETTERS = {"list": "list_letters", "show": "show", "replay": "replay"}


def _one_line(error: CycloptsError) -> str:
    command = " ".join(("pipeline", *(error.command_chain or ())))
    return f"{' '.join(str(error).split())} (`{command} --help`)"


def make_app() -> App:
    """The program with all its commands."""
    app = App(
        name="pipeline",
        help=_HELP,
        help_format="markdown",
        version=VERSION,
        default_parameter=Parameter(negative=(), allow_repeating=True),  # the last one counts, as everywhere
        group_commands=_OWN,
        suppress_keyboard_interrupt=False,
    )
    for group, commands in _COMMANDS.items():
        if group is _REPAIR:
            app.command(_dead_letters())
        for number, path in enumerate(commands, 1):
            app.command(f"cli.commands.{path}", group=group, sort_key=number, help=_help_of(path))
    app.register_install_completion_command(help="Make the shell complete this program's commands and options.")
    return app


def _dead_letters() -> App:
    letters = App(
        name="dead-letters",
        help="List, show and replay the records that are no valid orders.",
        group=_REPAIR,
        group_commands=Group("Commands"),
        sort_key=0,
    )
    for number, (name, function) in enumerate(_DEAD_LETTERS.items()):
        path = f"dead_letters:{function}"
        letters.command(f"cli.commands.{path}", name=name, sort_key=number, help=_help_of(path))
    return letters


def _help_of(path: str) -> str:
    """The function's docstring but for its arguments, read from the source: to import it would take half a second."""
    module, _, name = path.partition(":")
    tree = ast.parse((Path(__file__).parent / "commands" / f"{module}.py").read_text())
    function = next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name)
    return (ast.get_docstring(function) or "").partition("Args:")[0].strip()


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # what matters of it, the commands say themselves
    try:
        result = make_app()(arguments, result_action="return_value", exit_on_error=False, print_error=False)
    except CycloptsError as error:
        sys.stderr.write(f"pipeline: {_one_line(error)}\n")
        return EXIT_USAGE
    except PipelineError as error:
        _say(error)
        return EXIT_USAGE if isinstance(error, UsageError | SettingsError) else EXIT_FAILED
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # Whoever read the output has gone, and Python would flush into the closed pipe once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_DONE
    except ModuleNotFoundError as error:
        if not error.name or _is_ours(error.name):
            raise
        _say(
            PipelineError(f"this command needs {error.name}, which is not installed", advice="`make setup` installs it")
        )
        return EXIT_FAILED
    return result if isinstance(result, int) else EXIT_DONE


def _is_ours(module: str) -> bool:
    return (ROOT / module.partition(".")[0]).is_dir()


def _say(error: PipelineError) -> None:
    """In one line, with the advice; an error that quotes a log has several."""
    separator = "\n" if "\n" in str(error) else " "
    advice = f"{separator}({error.advice})" if error.advice else ""
    sys.stderr.write(f"pipeline: {error}{advice}\n")


def main() -> None:
    """The entry point: run what the command line says, and exit."""
    sys.exit(run())
