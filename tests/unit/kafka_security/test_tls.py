"""Replaced PEM files are used once they are consistent."""

import ssl
from pathlib import Path

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
