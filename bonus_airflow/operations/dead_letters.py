"""Counts the dead letters since the last report, by the project's command `make dead-letters`."""

import json
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from bonus_airflow.notifier import Notification
from bonus_airflow.operations.commands import PIPELINE, output_of
from bonus_airflow.operations.watched import LIVE_PAGE_SETTING

_TIMEOUT_S = 300.0
_PLAIN_REASON = re.compile(r"[a-z_]{1,40}")
_DAMAGED = "damaged_headers"


def count_new_letters(reported_until: Mapping[str, Any]) -> dict[str, Any]:
    """The letters since ``reported_until``, which is ``until`` of an earlier call; all of them in a cluster that it does not name.

    Returns:
        ``reasons``, a list of ``{"reason", "letters", "newest", "first", ...}``, and ``until``: by cluster id, a place for each
        partition as in 3/1207.
    """
    # The cluster is only known from the command's output: assume the one of the last report first.
    expected_id, places = next(reversed(list(reported_until.items())), (None, ()))
    found = _listed(places)
    cluster_id = found["cluster_id"]
    if expected_id is not None and cluster_id != expected_id:
        found = _listed(reported_until.get(cluster_id, ()))
    reasons = [{"reason": reason, **counted} for reason, counted in found["reasons"].items()]
    others = {each: places for each, places in reported_until.items() if each != cluster_id}
    return {"reasons": reasons, "until": {**others, cluster_id: found["next"]}}


def _listed(since: Sequence[str]) -> Any:
    arguments = ["--from", *since] if since else []
    return json.loads(output_of([PIPELINE, "dead-letters", "list", "--json", *arguments], timeout_s=_TIMEOUT_S))


def letters_notification(counted: Mapping[str, Any], dag_id: str, run_id: str) -> Notification:
    """The message about the new letters of one reason."""
    count, reason, newest = counted["letters"], counted["reason"], counted["newest"]
    shown = reason if _PLAIN_REASON.fullmatch(reason) else ascii(reason[:40])
    advice = (
        f"what it is: {_command(f'show {newest}')}"
        if reason == _DAMAGED
        else f"once its cause is mended: {_replay_command(reason)}"
    )
    what = f"{count:,} new dead letter{'' if count == 1 else 's'}, reason {shown}, the newest at {newest}; {advice}"
    return Notification(
        dag_id, run_id, what, since=f"{datetime.fromtimestamp(counted['first'], UTC):%Y-%m-%dT%H:%M:%SZ}"
    )


def _replay_command(reason: str) -> str:
    # Any program can write any reason into a header, and a reader will paste this command into a shell.
    if _PLAIN_REASON.fullmatch(reason):
        return _command(f"replay --reason {reason}")
    return (
        f".venv/bin/pipeline dead-letters replay --bootstrap HOST:PORT{_prefix_option()} --reason {shlex.quote(reason)}"
    )


def _command(arguments: str) -> str:
    if LIVE_PAGE_SETTING in os.environ:  # its broker address is in the containers' network
        return f"docker compose run --rm cli dead-letters {arguments}"
    bootstrap = os.environ.get("KAFKA_BOOTSTRAP_SERVERS")
    if bootstrap:
        return f'make dead-letters BOOTSTRAP={bootstrap} ARGS="{arguments}{_prefix_option()}"'
    return f'make dead-letters ARGS="{arguments}"'


def _prefix_option() -> str:
    """The reader's shell need not have TOPIC_PREFIX."""
    prefix = os.environ.get("TOPIC_PREFIX")
    return f" --topic-prefix {shlex.quote(prefix)}" if prefix else ""
