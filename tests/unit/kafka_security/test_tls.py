"""Replaced PEM files are used once they are consistent."""

import ssl
from pathlib import Path
from typing import ClassVar

import pytest

from libs.runtime.kafka_security.tls import ReloadingTls, TlsFiles
from tests.security.certificates import Authority


def test_replaced_files_are_used_for_the_next_connection(tmp_path: Path) -> None:
    first, second = Authority(tmp_path, "first"), Authority(tmp_path, "second")
    ca_file = tmp_path / "ca.pem"
    ca_file.write_bytes(first.file.read_bytes())
    tls = ReloadingTls(TlsFiles(ca_file))
    before = tls.current()
    assert tls.current() is before
    new = tmp_path / "new.pem"
    new.write_bytes(first.file.read_bytes() + second.file.read_bytes())
    new.replace(ca_file)
    assert len(tls.current().get_ca_certs()) == 2
    assert tls.current() is tls.current()


def test_inconsistent_files_leave_the_previous_ones_in_use(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    old, new = authority.issue("old"), authority.issue("new")
    tls = ReloadingTls(TlsFiles(authority.file, old.certificate, old.key))
    before = tls.current()
    new.certificate.replace(old.certificate)
    assert tls.current() is before
    new.key.replace(old.key)
    after = tls.current()
    assert after is not before
    assert isinstance(after, ssl.SSLContext)


class LockedFiles(TlsFiles):
    """Files that cannot be read while ``locked``."""

    locked: ClassVar[bool] = False

    def context(self) -> ssl.SSLContext:
        if self.locked:
            raise ValueError("permission denied")
        return super().context()


def test_files_that_become_readable_without_a_change_of_their_content_are_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = Authority(tmp_path, "first"), Authority(tmp_path, "second")
    tls = ReloadingTls(LockedFiles(first.file))
    before = tls.current()
    monkeypatch.setattr(LockedFiles, "locked", True)
    second.file.replace(first.file)
    assert tls.current() is tls.current() is before
    assert caplog.text.count("permission denied") == 1
    monkeypatch.setattr(LockedFiles, "locked", False)
    after = tls.current()
    assert after is not before
    assert tls.current() is after
