"""`pipeline complete-transactions`."""

from cli.app import EXIT_DONE, EXIT_FAILED
from cli.context import context_of
from cli.kafka import address_of, run_in_kafka
from cli.options import FOUND, PipelineOptions
from cli.output import messages, print_line
from doctor.complete_transactions import Outcome, commit_hanging_transactions


def complete_transactions(*, pipeline: PipelineOptions = FOUND) -> int:
    """Write commit markers that Kafka has left out, so that readers of committed records continue.

    A broker in ZooKeeper mode can leave one out if it crashes while a transaction commits. `pipeline doctor` then reports that
    a committed transaction hangs. This command needs the right ALTER on the cluster. The services may keep running. The exit
    code is 1 if a transaction hangs that cannot be completed.
    """
    context = context_of(pipeline)
    kafka = address_of(context)
    with messages.status("looking for transactions that hang"):
        outcomes = run_in_kafka(
            lambda: commit_hanging_transactions(kafka, context.topic_prefix), kafka, context.topic_prefix, None
        )
    for outcome in outcomes:
        print_line(_described(outcome))
    if not outcomes:
        print_line("No transaction hangs.")
    return EXIT_FAILED if any(outcome.reason for outcome in outcomes) else EXIT_DONE


def _described(outcome: Outcome) -> str:
    found = outcome.found
    where = f"partition {found.partition} of {found.topic}, from offset {found.start_offset}"
    return f"{where}: " + (f"nothing was done: {outcome.reason}" if outcome.reason else "committed")
