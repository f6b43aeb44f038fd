"""Runs the pipeline for a set time, and proves that nothing was lost.

Starts the pipeline, waits until every part is healthy, sees orders flow from end to end, lets it run, and stops it in order:
the generator first, then, once every order is in a closed and written window, the services. Kafka goes on until all that was
written has been verified. A task that fails fails the run, and `clean_up` stops what is left; its own success changes nothing
about that.
"""

from datetime import timedelta
from typing import Any

from airflow.sdk import Param, dag, task

from bonus_airflow.notifier import notify_failure
from bonus_airflow.operations import claim
from bonus_airflow.operations.backend import backend_named
from bonus_airflow.operations.parts import StartPlan
from bonus_airflow.operations.run_marker import Phase
from bonus_airflow.operators.await_condition import AwaitCondition, WatchUntil

_HEALTHY_S = 300
_FLOW_S = 600  # a window of a minute closes within 80 s of the first order
_GRACE_S = 120

PARAMS = {
    "backend": Param(
        "auto",
        type="string",
        enum=["auto", "compose", "local"],
        title="Backend",
        description="compose: containers; local: processes of this machine; auto: containers where Docker Compose can be used.",
    ),
    "processors": Param(
        2,
        type="integer",
        minimum=1,
        maximum=50,
        title="Replicas of the processor",
        description="Up to one for each partition of orders, of which there are six by default; others stand by.",
    ),
    "analytics": Param(
        1,
        type="integer",
        minimum=1,
        maximum=50,
        title="Replicas of the analytics",
        description="Up to one for each partition of processed-orders, of which there are six by default; others stand by.",
    ),
    "run_seconds": Param(
        120,
        type="integer",
        minimum=5,
        maximum=604_800,
        title="Run time in seconds",
        description="How long the pipeline is watched once orders flow, before it is stopped.",
    ),
    "rate": Param(
        "10-50",
        type="string",
        pattern=r"^[0-9]+(\.[0-9]+)?(-[0-9]+(\.[0-9]+)?)?$",
        title="Orders a second",
        description="One number, or lowest-highest for a daily curve with bursts.",
    ),
    "faulty_share": Param(
        0.01,
        type="number",
        minimum=0,
        maximum=1,
        title="Share of faulty orders",
        description="0.01 makes one order in a hundred a dead letter; the kinds of fault take turns.",
    ),
    "drain_seconds": Param(
        600,
        type="integer",
        minimum=30,
        maximum=86_400,
        title="Time limit of the drain in seconds",
        description="How long the last orders may take to get into closed, written windows after the generator has stopped.",
    ),
}


@dag(
    dag_id="pipeline_control",
    schedule=None,
    catchup=False,
    max_active_runs=1,
    is_paused_upon_creation=False,
    params=PARAMS,
    default_args={"on_failure_callback": notify_failure},
    tags=["pipeline"],
    doc_md=__doc__,
)
def pipeline_control() -> None:
    """The tasks, in their order."""

    @task
    def claim_pipeline(params: dict[str, Any], run_id: str) -> str:
        return claim.claim_pipeline(run_id, params["backend"])

    # One retry: a killed worker is not a failure of the pipeline, and the next try continues from what it has done.
    @task(retries=1, retry_delay=timedelta(seconds=5))
    def start_pipeline(backend: str, params: dict[str, Any], run_id: str) -> None:
        claim.require(run_id)
        settings = {"GENERATOR_RATE": params["rate"], "GENERATOR_FAULTS": f"{params['faulty_share']:.6f}"}
        backend_named(backend).start(StartPlan(params["processors"], params["analytics"], settings))

    @task
    def stop_generator(backend: str, run_id: str) -> None:
        claim.set_phase(run_id, Phase.STOPPING)
        backend_named(backend).stop_generator()

    @task
    def stop_services(backend: str, run_id: str) -> None:
        claim.require(run_id)
        backend_named(backend).stop_services()

    @task
    def verify(backend: str, run_id: str) -> None:
        claim.require(run_id)
        backend_named(backend).verify()

    @task
    def stop_pipeline(backend: str, run_id: str) -> None:
        claim.require(run_id)
        backend_named(backend).stop_all()

    @task(retries=3, retry_delay=timedelta(seconds=10))
    def clean_up(run_id: str) -> None:
        claim.release_pipeline(run_id)

    @task
    def mark_running(run_id: str) -> None:
        claim.set_phase(run_id, Phase.RUNNING)

    backend = claim_pipeline()
    healthy = AwaitCondition(task_id="wait_until_healthy", backend=backend, condition="healthy", timeout_s=_HEALTHY_S)
    flow = AwaitCondition(task_id="verify_orders_flow", backend=backend, condition="orders_flow", timeout_s=_FLOW_S)
    watched = WatchUntil(
        task_id="keep_watching", backend=backend, run_seconds="{{ params.run_seconds }}", grace_s=_GRACE_S
    )
    drained = AwaitCondition(
        task_id="drain", backend=backend, condition="drained", timeout_s="{{ params.drain_seconds }}"
    )
    stopped = stop_pipeline(backend)
    (
        start_pipeline(backend)
        >> healthy
        >> mark_running()
        >> flow
        >> watched
        >> stop_generator(backend)
        >> drained
        >> stop_services(backend)
        >> verify(backend)
        >> stopped
    )
    # A teardown runs if `claim_pipeline` has succeeded, whatever happens afterwards, and does not affect the run's state, which is
    # that of `stop_pipeline`, the last task before it. With the trigger rule all_done it would turn a failed run into a success.
    stopped >> clean_up().as_teardown(setups=backend)


pipeline_control()
