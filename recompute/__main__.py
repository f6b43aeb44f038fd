"""``python -m recompute``: everything that was made of `orders` is made once more. The services have to be stopped."""

import argparse
import asyncio
import logging
import os
import sys

from aiokafka.errors import KafkaError

from libs.cli import allowed, kafka_of
from libs.events.rights import RECOMPUTE
from libs.runtime.errors import PipelineError
from libs.runtime.kafka_security.security import KafkaAddress
from recompute.commands import Plan, carry_out, make_plan


def main() -> int:
    """Show what is going to be done, ask, and do it; exit code 1 when it was refused or not wanted."""
    arguments = _arguments()
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    try:
        kafka = kafka_of(arguments)
        return asyncio.run(allowed(lambda: _run(arguments, kafka), kafka, arguments.topic_prefix, RECOMPUTE))
    except PipelineError as error:
        sys.stderr.write(f"recompute: {error}\n{error.advice}\n")
    except KafkaError as error:
        sys.stderr.write(f"recompute: the broker cannot be reached: {error!r}\n")
    return 1


async def _run(arguments: argparse.Namespace, kafka: KafkaAddress) -> int:
    plan = await make_plan(kafka, arguments.topic_prefix)
    sys.stdout.write(_described(plan))
    if not arguments.yes and (await asyncio.to_thread(input, "Go on? [y/N] ")).strip().lower() not in ("y", "yes"):
        sys.stdout.write("Nothing was done.\n")
        return 1
    await carry_out(kafka, plan)
    sys.stdout.write("Done. Start the services: they make the topics anew, and process all orders.\n")
    return 0


def _described(plan: Plan) -> str:
    orders = sum(plan.ends.values()) - sum(plan.begins.values())
    lines = [f"{orders:,} orders are processed once more, from the oldest that {plan.orders} still has."]
    if deleted := sum(plan.begins.values()):
        lines.append(
            f"{deleted:,} older ones were deleted by its retention: what was made of them cannot be made again."
        )
    lines.append(f"Deleted, with all that is in them: {', '.join(plan.topics) or 'no topic'}.")
    return "\n".join(lines) + "\n"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="recompute", description=__doc__)
    parser.add_argument("--bootstrap", required=True, metavar="HOST:PORT", help="a broker")
    parser.add_argument(
        "--topic-prefix",
        default=os.environ.get("TOPIC_PREFIX", ""),
        metavar="PREFIX",
        help="as the services' TOPIC_PREFIX",
    )
    parser.add_argument("--yes", action="store_true", help="do not ask")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
