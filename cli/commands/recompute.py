"""`pipeline recompute`."""

import asyncio
import math

from cli.app import EXIT_DONE, EXIT_FAILED
from cli.confirmation import check_can_ask
from cli.context import context_of
from cli.kafka import address_of, run_in_kafka
from cli.options import FOUND, PipelineOptions
from cli.output import messages, print_line
from libs.confirmation import confirmed
from libs.events.rights import RECOMPUTE
from libs.printable import time_of
from recompute.commands import Plan, carry_out, make_plan
from services.sink.database.session import REBUILD

_UNFINISHED = "The recomputation is not finished: run it again before you start the services."


def recompute(*, yes: bool = False, pipeline: PipelineOptions = FOUND) -> int:
    """Delete everything derived from `orders`, so that the services compute it again.

    The services must be stopped: in local mode by `pipeline stop generator processor analytics sink`, since `pipeline down` would
    stop Kafka, too; with Docker Compose by `docker compose stop` and the same services. The exit code is 1 if the answer to the
    confirmation is no.

    Args:
        yes: Do not ask for confirmation.
    """
    check_can_ask(yes, "--yes recomputes without asking")
    context = context_of(pipeline)
    kafka = address_of(context)
    plan = run_in_kafka(lambda: make_plan(kafka, context.topic_prefix), kafka, context.topic_prefix, RECOMPUTE)
    print_line(described(plan, context.bootstrap_servers, with_database=context.outputs.database_url is not None))
    if not yes and not confirmed("Go on?"):
        print_line("Nothing was done.")
        return EXIT_FAILED
    begun = asyncio.Event()
    try:
        run_in_kafka(lambda: carry_out(kafka, plan, begun), kafka, context.topic_prefix, RECOMPUTE)
    except BaseException:  # Ctrl-C as well
        if begun.is_set():
            messages.print(_UNFINISHED, soft_wrap=True)
        raise
    print_line("Done. Start the services: they create the topics again and process all orders.")
    return EXIT_DONE


def described(plan: Plan, servers: str, *, with_database: bool = False) -> str:
    """The text of the confirmation."""
    # Of offsets: where orders were written in transactions, as by a replay, each commit marker takes one, too.
    orders = sum(plan.ends.values()) - sum(plan.begins.values())
    lines = [
        f"At {servers}, up to {orders:,} orders are processed again, from the oldest that {plan.orders} still has.",
        "Metrics may differ from those published: which orders are late depends on how far all partitions have been read.",
    ]
    if deleted := sum(plan.begins.values()):
        lines.append(f"Up to {deleted:,} older orders were deleted by retention: their results cannot be recomputed.")
        whole_since = time_of(math.ceil(plan.whole_since_s) * 1000)
        lines.append(
            f"Windows that begin before {whole_since} get too small metrics, or none, since each partition of {plan.orders} begins at a"
            f" time of its own. The sink puts its files aside as ….1.old, and writes again only what {plan.orders} still has: keep them."
        )
    if plan.replayed:
        lines.append(
            f"Dead letters were replayed: each such order is in {plan.orders} twice, as the rejected record and as the replayed one."
            " If the current catalogue accepts both, it is counted twice."
        )
    lines.append(f"These topics are deleted with all records: {', '.join(plan.topics) or 'none'}.")
    if plan.replicas > 1:
        lines.append(
            f"They have up to {plan.replicas} replicas: start the services with TOPIC_REPLICATION_FACTOR={plan.replicas}, or they get 1."
        )
    if plan.lost_settings:
        lines.append(f"Settings made on them by hand are lost ({'; '.join(plan.lost_settings)}).")
    if with_database:
        lines.append(
            f"The sink's database keeps its metrics, and refuses the new ones, until `{REBUILD}` empties it. Dump its table before:"
            f" it gets only what {plan.orders} still has."
        )
    return "\n".join(lines)
