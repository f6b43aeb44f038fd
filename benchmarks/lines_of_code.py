"""Counts lines of code: without blank lines, comments and docstrings."""

import ast
import io
import re
import tokenize
from collections.abc import Iterable
from pathlib import Path

from benchmarks.environment import FOLDERS
from benchmarks.processes import ROOT
from benchmarks.registry import OURS, Contender

_NO_CODE = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENCODING,
    tokenize.ENDMARKER,
}
_SHARED = FOLDERS / "peer_orders.py"
_OUR_SERVICES = ("services/processor", "services/analytics")
_OUR_LIBRARIES = ("libs/events", "libs/runtime")


def lines_of(contender: Contender) -> str:
    """The lines of both stages of a contender; ours include this project's libraries, the others' exclude their frameworks."""
    if contender.folder == OURS.folder:
        services, libraries = (sum(map(_folder, folders)) for folders in (_OUR_SERVICES, _OUR_LIBRARIES))
        return f"{services:,} + {libraries:,} in libs"
    files = list((FOLDERS / contender.folder).glob("*"))
    if any(_SHARED.stem in path.read_text() for path in files if path.suffix == ".py"):
        files.append(_SHARED)
    return f"{_count_all(files):,}"


def _folder(name: str) -> int:
    return _count_all((ROOT / name).rglob("*.py"))


def _count_all(paths: Iterable[Path]) -> int:
    counters = {".py": python_lines, ".java": java_lines}
    return sum(counters[path.suffix](path.read_text()) for path in paths if path.suffix in counters)


def python_lines(source: str) -> int:
    """The number of lines with Python code."""
    lines = {
        line
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type not in _NO_CODE
        for line in range(token.start[0], token.end[0] + 1)
    }
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            lines -= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return len(lines)


def java_lines(source: str) -> int:
    """The number of lines with Java code."""
    without = re.sub(r"/\*.*?\*/", "", source, flags=re.DOTALL)
    return sum(1 for line in without.splitlines() if re.sub(r"//.*", "", line).strip())
