"""The episodes with network faults."""

from tests.chaos.connection_faults import BROKER_PAUSED, CONNECTIONS_CUT, HALF_OPEN
from tests.chaos.episode import Episode
from tests.chaos.faults import Fault
from tests.chaos.request_faults import every_kind, late, requests_hit
from tests.kafka_proxy.faults import Treatment
from tests.kafka_proxy.wire_format import Api

_AIMED = 200
_AT_RANDOM = 50
_CRASHES = 5
_HARMLESS = (Api.ADD_PARTITIONS_TO_TXN, Api.ADD_OFFSETS_TO_TXN, Api.PRODUCE)


def network_episodes(scale: float) -> list[Episode]:
    """Late and duplicated requests and lost responses, with and without kills, and faults of all connections at once.

    ``scale`` multiplies the number of requests of each kind: 200 aimed ones, 50 random ones.
    """
    aimed, at_random = (max(1, round(count * scale)) for count in (_AIMED, _AT_RANDOM))
    faults_of_requests = {
        "late EndTxn": [late(Api.END_TXN, aimed)],
        "late TxnOffsetCommit": [late(Api.TXN_OFFSET_COMMIT, aimed)],
        "late AddPartitionsToTxn, AddOffsetsToTxn, Produce": [late(api, aimed) for api in _HARMLESS],
        "requests late at random": every_kind(Treatment.LATE, at_random),
        "answers lost": every_kind(Treatment.ANSWER_LOST, at_random),
        "answers lost, requests repeated late": every_kind(Treatment.ANSWER_LOST_AND_LATE_COPY, at_random),
        "requests delivered twice": every_kind(Treatment.TWICE, at_random),
        "AddPartitionsToTxn, AddOffsetsToTxn, Produce repeated late": [
            late(api, aimed, Treatment.LATE_COPY) for api in _HARMLESS
        ],
    }
    return [
        *(
            _episode(name, requests_hit(name, *faults, crashes=crashes), seconds=0.0)
            for title, faults in faults_of_requests.items()
            for name, crashes in ((title, 0), (f"{title}, and kills", _CRASHES))
        ),
        _episode(CONNECTIONS_CUT.name, CONNECTIONS_CUT, seconds=30.0),
        _episode("connections half-open", *HALF_OPEN, seconds=0.0),
        _episode(BROKER_PAUSED.name, BROKER_PAUSED, seconds=0.0),
    ]


def _episode(name: str, *faults: Fault, seconds: float, replicas: int = 3) -> Episode:
    return Episode(name, [faults], seconds, window_s=2, proxied=True, replicas=replicas)


SHORT_FORM_OF_LATE_REQUESTS = _episode(
    "late requests, the short form",
    requests_hit("late EndTxn", late(Api.END_TXN, 20)),
    requests_hit("late TxnOffsetCommit, and a kill", late(Api.TXN_OFFSET_COMMIT, 20), crashes=1),
    seconds=0.0,
    replicas=2,
)
"""The two requests that break a transaction's atomicity if they arrive late."""
