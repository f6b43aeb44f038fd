"""docs/aiokafka.md lists every file that uses private parts of aiokafka."""

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/aiokafka.md").read_text()
MARKS = ("# noqa: SLF001", "vars(aiokafka", "vars(module)", "fetcher.MemoryRecords =", "(AIOKafkaConnection)")


def users() -> list[str]:
    """Product files that use a private attribute or name of aiokafka, or replace one."""
    paths = [path for folder in ("libs", "services") for path in (ROOT / folder).rglob("*.py")]
    return [
        path.relative_to(ROOT).as_posix() for path in sorted(paths) if any(mark in path.read_text() for mark in MARKS)
    ]


@pytest.mark.parametrize("path", users())
def test_the_page_lists_the_file(path: str) -> None:
    assert f"](../{path})" in PAGE


def test_files_are_found() -> None:
    assert {"libs/runtime/kafka_client/lazy_records.py", "services/generator/order_sender.py"} <= set(users())
