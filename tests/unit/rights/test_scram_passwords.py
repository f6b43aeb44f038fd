"""The passwords for ``python -m acls --scram-passwords``."""

from pathlib import Path

import pytest

from acls.scram_users import read_passwords
from libs.runtime.errors import SettingsError

ONE_USER = {"processor": "User:app", "analytics": "User:app"}


def test_roles_of_one_user_may_have_the_same_password(tmp_path: Path) -> None:
    for role in ONE_USER:
        (tmp_path / role).write_text("secret\n")
    assert read_passwords(tmp_path, ONE_USER) == {"app": "secret"}


def test_two_passwords_of_one_user_are_an_error(tmp_path: Path) -> None:
    """Else the one that is set last would hold, and the other role could not log in."""
    for role in ONE_USER:
        (tmp_path / role).write_text(f"secret of {role}\n")
    with pytest.raises(SettingsError, match="has another password for 'app' than the file of another role") as raised:
        read_passwords(tmp_path, ONE_USER)
    assert "secret" not in str(raised.value)
