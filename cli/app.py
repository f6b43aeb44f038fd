"""The command-line program: its subcommands, their exit codes and their error messages.

Subcommands are registered by import path, so that `pipeline --help` and the completion import none of them.
"""

import ast
import difflib
import logging
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from cyclopts import App, CycloptsError, Group, Parameter, UnknownCommandError

from cli.errors import UsageError
from libs.report_line import exit_code_after_output
from libs.runtime.errors import PipelineError, SettingsError
from libs.version import VERSION
from local.paths import ROOT

EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_DIFFERS = 3
EXIT_INTERRUPTED = 130

_HELP = """\
Runs, watches, verifies and repairs the real-time order pipeline.

Commands that read a pipeline find it in this order: --bootstrap or --local, KAFKA_BOOTSTRAP_SERVERS, local mode, Docker Compose
at its published port. Credentials for Kafka are set by environment variables only (docs/security.md).

Exit codes: 0 success; 1 failure, or the command found something wrong; 2 invalid option or setting; 3 (report only) the report
was written, but its sources differ; 130 Ctrl-C. docs/cli.md is the full reference, with the documents that --json prints.
"""

_LOCAL = Group("Local mode: on this machine, without Docker", sort_key=1)
_PARTS = Group("Single programs of local mode", sort_key=2)
_LOOK = Group("Inspect a pipeline", sort_key=3)
_REPAIR = Group("Repair", sort_key=4)
_MEASURE = Group("Benchmark and fault injection", sort_key=5)
_OWN = Group("This program", sort_key=6)

_PARAMETER = Parameter(
    negative=(),
    allow_repeating=True,  # the last one wins, as usual
    show_default=lambda value: None if value is None or value is False else str(value),
)

# Functions of modules in cli.commands.
_COMMANDS = {
    _LOCAL: ("local_mode:up", "local_mode:scale", "local_mode:logs", "local_mode:down"),
    _PARTS: ("program_control:stop", "program_control:start", "program_control:restart", "program_control:drain"),
    _LOOK: (
        "status:status",
        "watch:watch",
        "live:live",
        "verify:verify",
        "metrics:metrics",
        "report:report",
        "doctor:doctor",
    ),
    _REPAIR: ("recompute:recompute", "complete_transactions:complete_transactions"),
    _MEASURE: ("bench:bench", "chaos:chaos"),
}
_DEAD_LETTERS = {"list": "list_letters", "show": "show", "replay": "replay"}


def _one_line(error: CycloptsError) -> str:
    command = " ".join(("pipeline", *(error.command_chain or ())))
    return f"{' '.join(_text_of(error).split())} (`{command} --help`)"


def _text_of(error: CycloptsError) -> str:
    if not isinstance(error, UnknownCommandError) or not error.app or not error.unused_tokens:
        return str(error)
    # For its own text cyclopts imports every command, also those whose modules an image does not have.
    word = error.unused_tokens[0]
    names = [name for name in error.app if not name.startswith("-")]
    close = difflib.get_close_matches(word, names, n=1)
    return f'unknown command "{word}"; ' + (f'did you mean "{close[0]}"?' if close else f"there are {', '.join(names)}")


def make_app() -> App:
    """The program with all its commands."""
    app = App(
        name="pipeline",
        help=_HELP,
        help_format="markdown",
        version=VERSION,
        default_parameter=_PARAMETER,
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
        help="List, show and replay rejected orders.",
        default_parameter=_PARAMETER,
        group=_REPAIR,
        group_commands=Group("Commands"),
        sort_key=0,
    )
    for number, (name, function) in enumerate(_DEAD_LETTERS.items()):
        path = f"dead_letters:{function}"
        letters.command(f"cli.commands.{path}", name=name, sort_key=number, help=_help_of(path))
    return letters


def _help_of(path: str) -> str:
    """The function's docstring without its arguments. It is parsed, not imported: an import takes half a second."""
    module, _, name = path.partition(":")
    return (ast.get_docstring(_functions_of(module)[name]) or "").partition("Args:")[0].strip()


@cache
def _functions_of(module: str) -> dict[str, ast.FunctionDef]:
    tree = ast.parse((Path(__file__).parent / "commands" / f"{module}.py").read_text())
    return {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # commands report errors themselves
    try:
        result = make_app()(arguments, result_action="return_value", exit_on_error=False, print_error=False)
    except CycloptsError as error:
        sys.stderr.write(f"pipeline: {_one_line(error)}\n")
        return EXIT_USAGE
    except PipelineError as error:
        _print_error(error)
        return EXIT_USAGE if isinstance(error, UsageError | SettingsError) else EXIT_FAILED
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        return EXIT_DONE  # the reader of the pipe has ended
    except ImportError as error:
        missing = error.__cause__ or error  # cyclopts wraps exceptions of a command's import
        if not isinstance(missing, ModuleNotFoundError) or not missing.name or _is_ours(missing.name):
            raise
        _print_error(
            PipelineError(
                f"this command needs {missing.name}, which is not installed",
                advice="`make setup` in a checkout installs it",
            )
        )
        return EXIT_FAILED
    return result if isinstance(result, int) else EXIT_DONE


def _is_ours(module: str) -> bool:
    return (ROOT / module.partition(".")[0]).is_dir()


def _print_error(error: PipelineError) -> None:
    """Print the error and its advice in one line; an error with a log excerpt has more."""
    separator = "\n" if "\n" in str(error) else " "
    advice = f"{separator}({error.advice})" if error.advice else ""
    sys.stderr.write(f"pipeline: {error}{advice}\n")


def main() -> None:
    """The entry point."""
    sys.exit(exit_code_after_output(run()))
