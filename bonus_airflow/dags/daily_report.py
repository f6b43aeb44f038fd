"""Makes the report of a day or an hour, and fails when topic, file and database differ.

Each run is of one partition of the asset `orders_report`: the day before, `2026-11-27`, if it is a scheduled one. A backfill makes
those of past days: `airflow backfill create --dag-id daily_report --from-date 2026-11-21 --to-date 2026-11-27`. A run that is
triggered by hand is of its partition key, or without one of the parameter `span`, a day or an hour (`2026-11-27T14`).
"""

from datetime import timedelta
from typing import Any

from airflow.sdk import Asset, CronPartitionTimetable, Param, dag, task
from airflow.sdk.exceptions import AirflowFailException

from bonus_airflow.notifier import notify_failure
from bonus_airflow.operations.errors import SourcesDifferError, SpanError
from bonus_airflow.operations.reports import make_report

REPORT = Asset("orders_report", uri="x-pipeline://orders-report")

PARAMS = {
    "span": Param(
        "",
        type="string",
        pattern=r"^(\d{4}-\d{2}-\d{2}(T\d{2})?)?$",
        title="Day or hour, UTC",
        description="2026-11-27 or 2026-11-27T14, for a run without a partition key; empty is yesterday.",
    ),
    "folder": Param(
        "output/reports",
        type="string",
        pattern=r"^\S",
        title="Folder",
        description="Where the HTML, CSV and JSON files go; a relative path begins in the checkout.",
    ),
    "wait_seconds": Param(
        60,
        type="integer",
        minimum=0,
        maximum=3600,
        title="Patience with the last windows, in seconds",
        description="How long they may take to close, and then file and database to have what the topic has.",
    ),
}


@dag(
    dag_id="daily_report",
    # Partitions begin at midnight, like the dates of a backfill: one that begins later would be outside the last date.
    schedule=CronPartitionTimetable("0 0 * * *", timezone="UTC", run_offset=-1, key_format="%Y-%m-%d"),
    catchup=False,  # and no start date: either would create a run immediately
    max_active_runs=2,
    is_paused_upon_creation=False,
    params=PARAMS,
    default_args={"on_failure_callback": notify_failure},
    tags=["pipeline"],
    doc_md=__doc__,
)
def daily_report() -> None:
    """One task."""

    # The last windows of a day close a minute or two after its end, and an outage of the broker may end.
    @task(outlets=[REPORT], retries=5, retry_delay=timedelta(minutes=2))
    def report(dag_run: Any, params: Any, outlet_events: Any) -> dict[str, Any]:
        try:
            made = make_report(dag_run.partition_key or params["span"], params["folder"], params["wait_seconds"])
        except (SourcesDifferError, SpanError) as error:
            raise AirflowFailException(str(error)) from error
        outlet_events[REPORT].extra = {"html": made["html"], "csv": made["csv"], **made["total"]}
        return made

    report()


daily_report()
