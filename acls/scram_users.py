"""Creates users for SCRAM-SHA-512, or changes their passwords."""

import hashlib
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path

from aiokafka.errors import for_code

from acls.superuser import check_may_alter
from libs.runtime.errors import PipelineError, SettingsError
from libs.runtime.kafka_client.clients import Kafka
from libs.runtime.kafka_requests.scram_credentials import UpsertScramSha512
from libs.runtime.transactions.connection import BrokerConnection

_ITERATIONS = 4096  # Kafka's minimum, and the default of its tools: enough for long random passwords
_SALT_BYTES = 24


def read_passwords(folder: Path, principals: Mapping[str, str]) -> dict[str, str]:
    """The password of each user: the first line of the file in ``folder`` that has its role's name.

    ``principals`` has the principal of each role, such as ``User:sink``.

    Raises:
        SettingsError: a file is missing or empty, or two roles of one user have different passwords.
    """
    passwords: dict[str, str] = {}
    for role, principal in principals.items():
        file = folder / role
        try:
            password = file.read_text("utf-8").partition("\n")[0].rstrip("\r")
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"no password can be read from {str(file)!r}: {error}") from None
        if not password:
            raise SettingsError(f"there is no password in {str(file)!r}: allowed is a file whose first line is one")
        user = principal.removeprefix("User:")
        if passwords.setdefault(user, password) != password:
            raise SettingsError(
                f"{str(file)!r} has another password for {user!r} than the file of another role: allowed is one"
            )
    return passwords


async def set_passwords(kafka: Kafka, passwords: Mapping[str, str]) -> None:
    """Set the password of each user; missing users are created.

    Raises:
        MissingRightError: this client is not allowed to.
        PipelineError: the cluster rejects one.
        KafkaError: no broker can be reached.
    """
    connection = await BrokerConnection.open(kafka)
    try:
        for user, password in passwords.items():
            salt = secrets.token_bytes(_SALT_BYTES)
            salted = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, _ITERATIONS)
            answer = await connection.ask_controller(UpsertScramSha512(user, _ITERATIONS, salt, salted))
            _check(answer.results)
    finally:
        await connection.close()


def _check(results: Iterable[tuple[str, int, str | None, object]]) -> None:
    for user, code, message, *_ in results:
        error = for_code(code)
        check_may_alter(error)
        if code:
            raise PipelineError(f"the cluster refuses a password for user {user!r}: {error.__name__} {message or ''}")
