"""Wakes up when dead letters arrive, lets them come for some minutes, and reports each reason once, with the replay command.

What has been reported is kept with the asset `dead_letters`: by cluster id a place in `orders-dlq` for each partition.
It moves on when all reasons have been reported. So no letter is left out, and after a failure a reason may be reported once more.
"""

import os
from datetime import timedelta
from typing import Any

from airflow.sdk import Asset, AssetWatcher, dag, task

from bonus_airflow.notifier import deliver, notify_failure
from bonus_airflow.operations.dead_letters import count_new_letters, letters_notification
from bonus_airflow.operators.pause import Pause
from bonus_airflow.triggers.dead_letters_trigger import QUIET_S, DeadLettersTrigger

_TOPIC = f"{os.environ.get('TOPIC_PREFIX', '')}orders-dlq"
_REPORTED_UNTIL = "reported_until"
_UNTIL = "until"

LETTERS = Asset(
    "dead_letters",
    uri=f"x-pipeline://{_TOPIC}",
    watchers=[
        AssetWatcher(name="dead_letters", trigger=DeadLettersTrigger(topics=[_TOPIC], kafka_config_id="pipeline_kafka"))
    ],
)


@dag(
    dag_id="dead_letter_watch",
    schedule=[LETTERS],
    catchup=False,
    max_active_runs=1,  # so that two runs do not report the same dead letters
    is_paused_upon_creation=False,
    default_args={"on_failure_callback": notify_failure},
    tags=["pipeline"],
    doc_md=__doc__,
)
def dead_letter_watch() -> None:
    """The tasks, in their order."""

    # Airflow can only map over a task's return value, so the place is passed separately.
    @task(inlets=[LETTERS], retries=3, retry_delay=timedelta(seconds=20))
    def count(asset_state_store: Any, ti: Any) -> list[dict[str, Any]]:
        found = count_new_letters(asset_state_store[LETTERS].get(_REPORTED_UNTIL, default={}))
        ti.xcom_push(_UNTIL, found["until"])
        return list(found["reasons"])

    @task(map_index_template="{{ counted['reason'] }}", retries=3, retry_delay=timedelta(seconds=20))
    def report(counted: dict[str, Any], run_id: str) -> None:
        deliver(letters_notification(counted, "dead_letter_watch", run_id))

    # Not `all_done`: if a report has failed, its letters have to be reported again.
    @task(inlets=[LETTERS], trigger_rule="none_failed", retries=3, retry_delay=timedelta(seconds=20))
    def remember(until: dict[str, Any], asset_state_store: Any) -> None:
        asset_state_store[LETTERS].set(_REPORTED_UNTIL, until)

    wait = Pause(
        task_id="wait_for_more",
        seconds="{{ var.value.get('dead_letters_group_seconds', 180) }}",
        at_least_s=2 * QUIET_S,
    )
    counted: Any = count()
    wait >> counted
    report.expand(counted=counted) >> remember(counted[_UNTIL])


dead_letter_watch()
