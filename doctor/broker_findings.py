"""Findings about the brokers: versions, settings, clock."""

import math
from collections.abc import Iterator, Mapping

from doctor.cluster_facts import Clock, ClusterFacts, Failure, TopicFacts
from doctor.finding import Finding, ok, problem, skipped, warning
from libs.events.topics import ORDERS, PROCESSED_ORDERS, PRODUCT_METRICS

_READ = (ORDERS, PROCESSED_ORDERS, PRODUCT_METRICS)  # by groups whose offsets matter

_ALL_REPLICAS = "-1"

# More than the time from an order's arrival at the broker to its arrival here.
_CLOCKS_DIFFER_S = 2.0

# Request, its key, the required version, the Kafka release that has it, and the consequence without it.
_NEEDED = (
    ("TxnOffsetCommit", 28, 3, "2.5", "the services do not start"),
    ("OffsetFetch", 9, 7, "2.5", "the services do not start"),
)

_WANTED = (
    (
        "ListTransactions",
        66,
        0,
        "3.0",
        "after a crash the next replica waits until the transactions of the crashed one time out",
    ),
    ("DescribeProducers", 61, 0, "2.8", "`pipeline doctor` cannot name the producer of an open transaction"),
)


def version_findings(facts: ClusterFacts) -> Iterator[Finding]:
    """The requests that the services and `pipeline doctor` need."""
    release = (facts.broker_config or {}).get("inter.broker.protocol.version", "")
    name = f"Kafka {release.partition('-')[0]}" if release else "Kafka"
    lacking = [need for need in _NEEDED if facts.versions.get(need[1], -1) < need[2]]
    missing = [need for need in _WANTED if facts.versions.get(need[1], -1) < need[2]]
    for request, _, version, since, otherwise in lacking:
        yield problem(
            "broker version",
            f"{name} does not support {request} version {version}: {otherwise}",
            f"use Kafka {since} or later",
        )
    for request, _, version, since, otherwise in missing:
        yield warning(
            "broker version",
            f"{name} does not support {request} version {version}: {otherwise}",
            f"use Kafka {since} or later",
        )
    if not lacking and not missing:
        brokers = "1 broker" if facts.brokers == 1 else f"{facts.brokers} brokers"
        yield ok("broker version", f"{brokers}, {name}, all required requests")


def broker_setting_findings(config: Mapping[str, str] | None, topics: Mapping[str, TopicFacts]) -> Iterator[Finding]:
    """The brokers' settings that affect the pipeline."""
    subject = "broker settings"
    if config is None:
        yield skipped(subject, "this client is not allowed to describe them")
        return
    sound = True
    if config.get("auto.create.topics.enable") == "true":
        sound = False
        yield warning(
            subject,
            "auto.create.topics.enable=true: a client with a mistyped topic creates that topic",
            "set it to false; the services create their topics themselves",
        )
    if (acks := config.get("offsets.commit.required.acks", _ALL_REPLICAS)) != _ALL_REPLICAS:  # gone since Kafka 4.0
        sound = False
        yield problem(
            subject,
            f"offsets.commit.required.acks={acks}: committed offsets may be lost with a broker, and orders processed twice",
            f"remove the setting; its default is {_ALL_REPLICAS}, all in-sync replicas",
        )
    kept_minutes = int(config.get("offsets.retention.minutes", "0"))
    records_minutes = _retention_minutes(config, topics)
    if 0 < kept_minutes <= records_minutes:
        sound = False
        yield warning(
            subject,
            f"offsets.retention.minutes={kept_minutes}: offsets of an inactive group expire before the records do",
            "set it to more than "
            + (
                "any outage lasts: records are kept for ever"
                if records_minutes == math.inf
                else f"{records_minutes:.0f}, the retention of records"
            ),
        )
    if sound:
        yield ok(subject, "no automatic creation of topics; offsets are kept longer than records")


def _retention_minutes(config: Mapping[str, str], topics: Mapping[str, TopicFacts]) -> float:
    """The longest retention of the topics that groups read, infinite if one is negative; the broker's if they cannot be described.

    Of the broker's three settings the most precise one counts.
    """
    read = [topics[topic.name].config for topic in _READ if topic.name in topics]
    known = [int(each["retention.ms"]) for each in read if each and "retention.ms" in each]
    if known:
        return math.inf if min(known) < 0 else max(known) / 60_000
    for name, per_minute in (
        ("log.retention.ms", 60_000),
        ("log.retention.minutes", 1),
        ("log.retention.hours", 1 / 60),
    ):
        if value := config.get(name):
            return int(value) / per_minute if int(value) >= 0 else math.inf
    return 0


def clock_finding(clock: Clock | Failure) -> Finding:
    """The difference between the clocks of the broker and of this machine."""
    subject = "clock"
    if isinstance(clock, Failure):
        return skipped(subject, f"the orders could not be read: {clock.reason}")
    advice = "synchronize both machines by NTP: an order that is a minute ahead of its arrival becomes a dead letter"
    ahead_s = clock.ahead_s
    if ahead_s is None and clock.newest_order_ahead_s is not None and clock.newest_order_ahead_s > _CLOCKS_DIFFER_S:
        return warning(
            subject,
            f"the broker's clock is at least {clock.newest_order_ahead_s:.1f} s ahead of this machine's",
            advice,
        )
    if ahead_s is None:
        return skipped(subject, "no order arrived during the check, so the broker's clock is unknown")
    if abs(ahead_s) > _CLOCKS_DIFFER_S:
        which = "ahead of" if ahead_s > 0 else "behind"
        return warning(subject, f"this machine's clock is {abs(ahead_s):.1f} s {which} the broker's", advice)
    return ok(subject, f"{ahead_s:+.2f} s from the broker's, including the time an order takes to arrive")
