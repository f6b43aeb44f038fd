"""Counts and notifications of `dead_letter_watch`; a reason in a header cannot inject a command into the printed one."""

import json
import shlex
from collections.abc import Sequence
from typing import Any

import pytest

from bonus_airflow.operations import dead_letters
from bonus_airflow.operations.dead_letters import count_new_letters, letters_notification
from bonus_airflow.operations.watched import LIVE_PAGE_SETTING


def counted(reason: str, letters: int = 12) -> dict[str, Any]:
    return {"reason": reason, "letters": letters, "newest": "3/1207", "first": 1_795_305_600.25}


def notification_text(reason: str, letters: int = 12) -> str:
    return letters_notification(counted(reason, letters), "dead_letter_watch", "run-1").text()


class Listing:
    """`pipeline dead-letters list --json` of a cluster with three letters in its only partition."""

    def __init__(self, cluster_id: str) -> None:
        self.cluster_id = cluster_id

    def output(self, command: Sequence[str], timeout_s: float) -> str:
        place = command[command.index("--from") + 1] if "--from" in command else "0/0"
        letters = 3 - int(place.partition("/")[2])
        reasons = {"malformed": counted("malformed", letters)} if letters else {}
        return json.dumps({"cluster_id": self.cluster_id, "next": ["0/3"], "reasons": reasons})


def test_letters_are_counted_on_in_the_same_cluster_and_anew_in_another_one(monkeypatch: pytest.MonkeyPatch) -> None:
    listing = Listing("first")
    monkeypatch.setattr(dead_letters, "output_of", listing.output)
    found = count_new_letters({})
    assert [each["letters"] for each in found["reasons"]] == [3]
    assert count_new_letters(found["until"])["reasons"] == []
    listing.cluster_id = "second"
    again = count_new_letters(found["until"])
    assert [each["letters"] for each in again["reasons"]] == [3]
    assert count_new_letters(again["until"])["reasons"] == []
    listing.cluster_id = "first"
    back = count_new_letters(again["until"])
    assert back == {"reasons": [], "until": {"second": ["0/3"], "first": ["0/3"]}}


def test_a_reason_is_reported_with_its_replay_command(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KAFKA_BOOTSTRAP_SERVERS", "TOPIC_PREFIX"):
        monkeypatch.delenv(name, raising=False)
    assert notification_text("unknown_product") == (
        "12 new dead letters, reason unknown_product, the newest at 3/1207; once its cause is mended:"
        ' make dead-letters ARGS="replay --reason unknown_product", since 2026-11-22T00:00:00Z [dead_letter_watch, run-1]'
    )
    assert notification_text("malformed", 1).startswith("1 new dead letter, reason")
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "broker:9092")
    assert 'make dead-letters BOOTSTRAP=broker:9092 ARGS="replay --reason malformed"' in notification_text("malformed")
    monkeypatch.setenv(LIVE_PAGE_SETTING, "http://live:8080")
    assert "docker compose run --rm cli dead-letters replay --reason malformed" in notification_text("malformed")


def test_the_command_names_the_topic_prefix_with_the_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reader's shell need not have TOPIC_PREFIX, and another pipeline may be at that broker."""
    monkeypatch.setenv("TOPIC_PREFIX", "shop-")
    monkeypatch.delenv("KAFKA_BOOTSTRAP_SERVERS", raising=False)
    assert 'ARGS="replay --reason malformed"' in notification_text("malformed")  # the one that runs here has its own
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "broker:9092")
    assert 'BOOTSTRAP=broker:9092 ARGS="replay --reason malformed --topic-prefix shop-"' in notification_text(
        "malformed"
    )
    assert 'BOOTSTRAP=broker:9092 ARGS="show 3/1207 --topic-prefix shop-"' in notification_text("damaged_headers")
    assert "--bootstrap HOST:PORT --topic-prefix shop- --reason 'a b'" in notification_text("a b")


def test_letters_that_cannot_be_replayed_are_to_be_looked_at() -> None:
    assert 'ARGS="show 3/1207"' in notification_text("damaged_headers")
    assert "replay" not in notification_text("damaged_headers")


@pytest.mark.parametrize(
    "reason", ['x"; touch /tmp/pwned; "', "$(touch x)", "`touch x`", "a b", "", "\x1b[31mred", "Großes"]
)
def test_a_reason_that_another_program_made_up_is_quoted(reason: str) -> None:
    text = notification_text(reason)
    command = text.partition("mended: ")[2].rpartition(", since ")[0]
    assert shlex.split(command)[-2:] == ["--reason", reason]
    assert "ARGS" not in text
    shown = text.partition("reason ")[2].partition(", the newest")[0]
    assert shown.isascii()
    assert shown.isprintable()
