"""Findings about transactions that block readers."""

from collections.abc import Iterator

from doctor.cluster_facts import ClusterFacts, Failure, OpenTransaction
from doctor.finding import Finding, ok, problem, skipped, warning
from doctor.own_transactions import is_own
from libs.runtime.kafka_requests.list_transactions import COMPLETE_ABORT, COMPLETE_COMMIT


def transaction_findings(facts: ClusterFacts, prefix: str) -> Iterator[Finding]:
    """Transactions that block readers."""
    subject = "transactions"
    if isinstance(facts.open_transactions, Failure):
        yield skipped(subject, f"they could not be watched: {facts.open_transactions.reason}")
        return
    if facts.producers_failure:
        yield warning(
            subject,
            f"the producers of open transactions could not be listed: {facts.producers_failure}",
            "run `pipeline doctor` again",
        )
    if not facts.open_transactions:
        yield ok(subject, f"none is open for {facts.watched_s:.0f} s or longer")
        return
    for each in facts.open_transactions:
        yield _transaction(each, prefix, subject, facts.watched_s)


def _transaction(found: OpenTransaction, prefix: str, subject: str, watched_s: float) -> Finding:
    where = f"partition {found.partition} of {found.topic}"
    if found.producer_id is None:
        return warning(
            subject,
            f"a transaction of an unknown producer has blocked readers of {where} for {watched_s:.0f} s",
            "run `pipeline doctor` again; if it is still there, kafka-transactions.sh find-hanging",
        )
    if not found.hangs:
        own = is_own(found.transactional_id or "", prefix)
        return warning(
            subject,
            f"the transaction of {found.transactional_id!r} has blocked readers of {where} for {watched_s:.0f} s",
            "start its service, which aborts it, or wait for its timeout (15 s)"
            if own
            else "it does not belong to this pipeline: end it in the program that opened it, restart that program (which aborts it), or wait"
            " for its timeout (transaction.timeout.ms of the program, 15 minutes at most by the brokers' default)",
        )
    hangs = f"hangs: no timeout ends it, and readers are blocked at offset {found.start_offset}"
    abort = (
        f"kafka-transactions.sh abort --topic {found.topic} --partition {found.partition}"
        f" --start-offset {found.start_offset}"
    )
    if found.state == COMPLETE_COMMIT and not is_own(found.transactional_id or "", prefix):
        return problem(
            subject,
            f"a transaction of {found.transactional_id!r} in {where} {hangs}. Its producer's last one was committed, which does not show"
            " how this one ended",
            "ask the owners of that program, or look for markers of this producer in other partitions (kafka-dump-log.sh); if it was not"
            f" committed: {abort}",
        )
    if found.state == COMPLETE_COMMIT:
        return problem(
            subject,
            f"the transaction of {found.transactional_id!r} in {where} {hangs}. It was committed, but the broker has not written its"
            " commit marker",
            "`pipeline complete-transactions` writes it. Do not abort the transaction: that would lose its records",
        )
    if found.state == COMPLETE_ABORT:
        return problem(
            subject, f"the transaction of {found.transactional_id!r} in {where} {hangs}. It was aborted", abort
        )
    return problem(
        subject,
        f"the transaction of producer {found.producer_id} in {where} {hangs}. No coordinator knows how it ended",
        "make sure that this client may describe every transactional id, or the coordinator hides it. If it is still unknown, look"
        f" for markers of this producer in other partitions (kafka-dump-log.sh); if it was not committed: {abort}",
    )
