"""A file is replaced as a whole."""

import os
from pathlib import Path

import pytest

from libs.atomic_files import atomic_replacement


def test_a_file_is_replaced_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "report"
    path.write_text("old")
    with atomic_replacement(path) as new:
        new.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_leaves_the_former_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "report"
    path.write_text("old")

    def write() -> None:
        with atomic_replacement(path) as new:
            new.write_text("ne")
            raise OSError("disk is full")

    with pytest.raises(OSError, match="disk is full"):
        write()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_stays_one(tmp_path: Path) -> None:
    path, link = tmp_path / "report", tmp_path / "newest"
    link.symlink_to(path)
    with atomic_replacement(link) as new:
        new.write_text("new")
    assert link.is_symlink()
    assert path.read_text() == "new"


def test_a_pipe_of_this_process_is_written_to_itself() -> None:
    reader, writer = os.pipe()
    try:
        with atomic_replacement(Path(f"/dev/fd/{writer}")) as itself:
            itself.write_text("new")
        assert os.read(reader, 10) == b"new"
    finally:
        os.close(reader)
        os.close(writer)


def test_a_redirected_output_of_this_process_is_not_replaced(tmp_path: Path) -> None:
    """As with ``--to-file /dev/stdout > all``: what is written to the descriptor afterwards goes to the same file."""
    with (tmp_path / "all").open("w") as file, atomic_replacement(Path(f"/dev/fd/{file.fileno()}")) as itself:
        itself.write_text("new")
        inode = os.fstat(file.fileno()).st_ino
    assert (tmp_path / "all").stat().st_ino == inode
    assert (tmp_path / "all").read_text() == "new"


def test_a_pipe_is_written_to_itself(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        with atomic_replacement(pipe) as itself:
            itself.write_text("new")
        assert os.read(reader, 10) == b"new"
    finally:
        os.close(reader)
    assert pipe.is_fifo()
