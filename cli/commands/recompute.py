"""`pipeline recompute`."""

import asyncio

from cli.app import EXIT_DONE, EXIT_FAILED
from cli.context import context_of
from cli.kafka import address_of, run_in_kafka
from cli.options import FOUND, PipelineOptions
from cli.output import print_line
from libs.events.rights import RECOMPUTE
from recompute.commands import Plan, carry_out, make_plan


def recompute(*, yes: bool = False, pipeline: PipelineOptions = FOUND) -> int:
    """Delete all that was made of orders, so that the services make it once more.

    The services have to be stopped. Exit code 1 if it was not wanted after all.

    Args:
        yes: Do not ask.
    """
    context = context_of(pipeline)
    kafka = address_of(context)

    async def asked_and_done() -> int:
        plan = await make_plan(kafka, context.topic_prefix)
        print_line(described(plan, context.bootstrap_servers))
        if not yes and (await asyncio.to_thread(input, "Go on? [y/N] ")).strip().lower() not in ("y", "yes"):
            print_line("Nothing was done.")
            return EXIT_FAILED
        await carry_out(kafka, plan)
        print_line("Done. Start the services: they make the topics anew, and process all orders.")
        return EXIT_DONE

    return run_in_kafka(asked_and_done, kafka, context.topic_prefix, RECOMPUTE)


def described(plan: Plan, servers: str) -> str:
    """What is going to be done, in words."""
    orders = sum(plan.ends.values()) - sum(plan.begins.values())
    lines = [f"At {servers}, {orders:,} orders are processed once more, from the oldest that {plan.orders} still has."]
    if deleted := sum(plan.begins.values()):
        lines.append(
            f"{deleted:,} older ones were deleted by its retention: what was made of them cannot be made again."
        )
    lines.append(f"Deleted, with all that is in them: {', '.join(plan.topics) or 'no topic'}.")
    return "\n".join(lines)
