"""Faults of requests, by the proxy: late or duplicated requests, and lost responses."""

import asyncio
import time
from collections import Counter
from dataclasses import replace
from random import Random

from aiokafka.errors import for_code

from tests.chaos.faults import Fault
from tests.chaos.stack import Stack
from tests.integration.services import eventually
from tests.kafka_proxy.faults import NO_ANSWER, RequestFault, RequestFaults, Treatment
from tests.kafka_proxy.wire_format import Api

_HIT_LIMIT_S = 3.0
_CRASH_LIMIT_S = 30.0
_MORE_S = 60.0
_TELL_EVERY_S = 5.0
_POLL_S = 0.005
_DOWN_S = 1.0
_WORST_MOMENT = {
    Api.END_TXN: Api.TXN_OFFSET_COMMIT,
    Api.TXN_OFFSET_COMMIT: Api.END_TXN,
    Api.ADD_PARTITIONS_TO_TXN: Api.ADD_PARTITIONS_TO_TXN,
    Api.ADD_OFFSETS_TO_TXN: Api.ADD_PARTITIONS_TO_TXN,
    Api.PRODUCE: Api.END_TXN,
}


def requests_hit(name: str, *specified: RequestFault, crashes: int = 0) -> Fault:
    """Apply these faults concurrently, until each has hit its number of requests.

    Meanwhile all replicas of processor and analytics are killed ``crashes`` times, each time just after a hit, before the next
    commit overwrites its effect on the group's offsets.
    """

    async def inject(stack: Stack, random: Random) -> int:
        requests = stack.requests
        faults = [replace(each) for each in specified]  # new objects with new counts
        counts = sum(fault.count for fault in faults)
        ends_s = time.monotonic() + counts * _HIT_LIMIT_S + crashes * _CRASH_LIMIT_S + _MORE_S
        crash_at = [counts * (number + 1) // (crashes + 1) for number in range(crashes)]
        tell_at_s = 0.0
        for fault in faults:
            requests.add(fault)
        while not all(requests.done(fault) for fault in faults) and time.monotonic() < ends_s:
            if time.monotonic() > tell_at_s:
                stack.say("; ".join(_count(requests, fault) for fault in faults))
                tell_at_s = time.monotonic() + _TELL_EVERY_S
            if crash_at and sum(requests.injected[fault] for fault in faults) >= crash_at[0]:
                del crash_at[0]
                await _crash(stack)
            await asyncio.sleep(_POLL_S)
        for fault in faults:
            requests.remove(fault)
            stack.say(_count(requests, fault) + _answers(requests, fault))
        missing = [fault for fault in faults if not requests.done(fault)]
        stack.problems += [f"{fault.name}: only {requests.injected[fault]} of {fault.count} hit" for fault in missing]
        return sum(requests.injected[fault] for fault in faults)

    return Fault(name, inject)


async def _crash(stack: Stack) -> None:
    replicas = stack.of("processor", "analytics")
    for replica in replicas:
        replica.wanted = False
        replica.process.kill()
    stack.say("SIGKILL of every processor and analytics engine")
    await eventually(lambda: all(each.process.process.poll() is not None for each in replicas), what="all have ended")
    await asyncio.sleep(_DOWN_S)
    for replica in replicas:
        stack.start(replica)


def _count(requests: RequestFaults, fault: RequestFault) -> str:
    return f"{fault.name} {requests.injected[fault]} of {fault.count}"


def _answers(requests: RequestFaults, fault: RequestFault) -> str:
    """The broker's responses to late requests, by error code."""
    answers = Counter[str]()
    for (each, code), count in requests.answers.items():
        if each is fault:
            answers["no answer" if code == NO_ANSWER else for_code(code).__name__] += count
    errors = "".join(f", {count} times {name}" for name, count in answers.most_common())
    missed = f", {requests.missed[fault]} missed their moment" if requests.missed[fault] else ""
    return missed + errors


def late(api: Api, count: int, treatment: Treatment = Treatment.LATE) -> RequestFault:
    """Requests of this kind that arrive late or a second time, when they could do the most harm.

    - EndTxn: the broker ends the next transaction before it has its offset.
    - TxnOffsetCommit: the next transaction commits the offset of the previous one.
    - AddPartitionsToTxn, AddOffsetsToTxn: the broker begins a transaction that is never ended.
    - Produce: the next transaction commits records of the previous one.
    """
    return RequestFault(api, treatment, count, before=_WORST_MOMENT[api])


def every_kind(treatment: Treatment, count: int) -> list[RequestFault]:
    """Requests of all kinds, ``count`` of each; delayed ones are delivered at a random time within a second."""
    return [RequestFault(api, treatment, count, within_s=(0.0, 1.0), share=0.05) for api in Api]
