"""Tests of the notifier."""

import logging
import subprocess
import sys
from pathlib import Path

import pytest

from bonus_airflow.environment import airflow_environment
from bonus_airflow.notifier import Notification, load_notifier, notify
from bonus_airflow.operations.errors import OperationError

TOLD: list[Notification] = []
UNWELL = Notification("pipeline_health", "one", "sink is broken", "2026-11-28T09:00:00+00:00", ("restart 1 of sink",))


def keep(notification: Notification) -> None:
    TOLD.append(notification)


def fail(notification: Notification) -> None:
    raise ConnectionError("the mail server is away")


def test_a_notification_says_what_since_when_and_what_was_tried() -> None:
    assert UNWELL.text() == (
        "sink is broken, since 2026-11-28T09:00:00+00:00, tried: restart 1 of sink [pipeline_health, one]"
    )


def test_the_users_own_notifier_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIPELINE_NOTIFIER", f"{__name__}.keep")
    TOLD.clear()
    notify(UNWELL)
    assert TOLD == [UNWELL]


def test_the_users_own_folders_and_proxy_exceptions_are_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "alerts_of_the_company.py").write_text("def mail(notification): print('a mail')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("NO_PROXY", "example.org")
    environment = airflow_environment(tmp_path, 8085)
    code = "from bonus_airflow.notifier import load_notifier; load_notifier('alerts_of_the_company.mail')(None)"
    called = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert called.stdout == "a mail\n"
    assert environment["NO_PROXY"] == "127.0.0.1,localhost,example.org"


def test_one_that_fails_costs_only_its_message(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("PIPELINE_NOTIFIER", f"{__name__}.fail")
    with caplog.at_level(logging.ERROR):
        notify(UNWELL)
    assert "the mail server is away" in caplog.text
    assert "sink is broken" in caplog.text


@pytest.mark.parametrize("path", ["nothing", "no.such.module", f"{__name__}.UNWELL", f"{__name__}.missing"])
def test_a_path_to_no_function_is_named(path: str) -> None:
    with pytest.raises(OperationError, match=r"PIPELINE_NOTIFIER=.*the dotted path of a function is allowed"):
        load_notifier(path)
