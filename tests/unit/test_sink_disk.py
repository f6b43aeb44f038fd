"""Operations of the sink that some file systems do not support."""

import errno
import os
import stat
from pathlib import Path

import pytest

from services.sink.file.disk import Disk


def refuse_to_sync_directories(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    fsync = os.fsync

    def refuse(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(number, os.strerror(number))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", refuse)


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP])
def test_a_file_system_that_cannot_sync_a_directory_is_not_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, number: int
) -> None:
    refuse_to_sync_directories(monkeypatch, number)
    Disk().sync_directory(tmp_path)


def test_a_failed_directory_sync_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    refuse_to_sync_directories(monkeypatch, errno.EIO)
    with pytest.raises(OSError, match="Input/output"):
        Disk().sync_directory(tmp_path)
