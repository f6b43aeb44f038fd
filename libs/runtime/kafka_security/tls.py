"""TLS contexts from PEM files, which may be replaced while a service runs."""

import logging
import ssl
from dataclasses import dataclass
from pathlib import Path

from libs.runtime.secret import Secret

log = logging.getLogger(__name__)

_Stamp = tuple[tuple[int, int, int] | None, ...]


@dataclass(frozen=True)
class TlsFiles:
    """A client's PEM files.

    Args:
        ca_file: the CAs that brokers' certificates are checked against; None uses the system's.
        cert_file: this client's certificate with its chain, for mutual TLS.
        key_file: its private key; None if that is in ``cert_file``.
        key_password: of an encrypted key.
        check_hostname: whether a broker's certificate has to contain the host name that was connected to.
    """

    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    key_password: Secret | None = None
    check_hostname: bool = True

    def context(self) -> ssl.SSLContext:
        """A new context with the current content of the files.

        Raises:
            ValueError: naming the setting whose file cannot be used, and why.
        """
        context = _trusting(self.ca_file)
        context.check_hostname = self.check_hostname
        if self.cert_file is not None:
            self._load_certificate(context, self.cert_file)
        return context

    def _load_certificate(self, context: ssl.SSLContext, cert_file: Path) -> None:
        password = self.key_password.read() if self.key_password is not None else ""
        files = f"KAFKA_SSL_CERT_FILE={str(cert_file)!r}"
        if self.key_file is not None:
            files += f" with KAFKA_SSL_KEY_FILE={str(self.key_file)!r}"
        try:
            # Without a password OpenSSL would prompt for that of an encrypted key on the terminal.
            context.load_cert_chain(cert_file, self.key_file, password=lambda: password)
        except (OSError, ValueError) as error:
            raise ValueError(
                f"{files} cannot be used: {_reason(error)}; allowed are a PEM certificate and its PEM key, the password of"
                " an encrypted one in KAFKA_SSL_KEY_PASSWORD or KAFKA_SSL_KEY_PASSWORD_FILE"
            ) from None


def _trusting(ca_file: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"KAFKA_SSL_CA_FILE={str(ca_file)!r} cannot be used: {_reason(error)}; allowed is a PEM file of CA certificates"
        ) from None


def _reason(error: OSError | ValueError) -> str:
    if isinstance(error, ssl.SSLError):
        # https://docs.openssl.org/3.0/man3/ERR_get_error: KEY_VALUES_MISMATCH, NO_CERTIFICATE_OR_CRL_FOUND, ...
        return (error.reason or "no PEM file that OpenSSL can read").lower().replace("_", " ")
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


class ReloadingTls:
    """The TLS context for new connections, reloaded when ``files`` change."""

    def __init__(self, files: TlsFiles) -> None:
        self.files = files
        self._stamp = self._read_stamp()  # of the files in use
        self._unusable: _Stamp | None = None
        self._context = files.context()

    def current(self) -> ssl.SSLContext:
        """A context of the newest files; of the previous ones as long as the new ones do not match each other yet."""
        stamp = self._read_stamp()
        if stamp != self._stamp:
            try:
                self._context = self.files.context()
            except ValueError as error:
                # Tried again each time: a change of the files' permissions is not in the stamp.
                if stamp != self._unusable:
                    log.warning("the new TLS files cannot be used, the previous ones stay in use: %s", error)
                self._unusable = stamp
            else:
                self._stamp = stamp
                log.info("the new TLS files are in use")
        return self._context

    def _read_stamp(self) -> _Stamp:
        files = self.files
        password_file = files.key_password.file if files.key_password else None
        return tuple(map(_stamp_of, (files.ca_file, files.cert_file, files.key_file, password_file)))


def _stamp_of(file: Path | None) -> tuple[int, int, int] | None:
    if file is None:
        return None
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
