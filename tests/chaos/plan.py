"""The episodes: which faults run, together or alone, and for how long."""

from collections.abc import Sequence
from dataclasses import replace

from tests.chaos.broker_faults import (
    BROKER_KILLED,
    BROKER_STOPPED,
    DEAD_LETTERS_DELETED,
    LATE_ORDERS_DELETED,
    ORDERS_REFUSED,
    RECORDS_REFUSED,
    ZOOKEEPER_RESTARTED,
)
from tests.chaos.cluster_faults import (
    CONTROLLER_KILLED,
    COORDINATOR_KILLED,
    CUT_OFF,
    KILLED_IN_TURN,
    ONE_OF_THREE_KILLED,
    ROLLING_RESTART,
    STARTED_WITHOUT_CONTROLLER,
    TWO_OF_THREE_KILLED,
)
from tests.chaos.database_faults import (
    CONNECTIONS_CUT,
    DATABASE_FULL,
    DATABASE_KILLED,
    DATABASE_RESTARTED,
    SINK_PAUSED,
)
from tests.chaos.edge_faults import ALL_SINK_STEPS, CLOCK_SKEWED, DISK_FULL, FINISHING_STEPS_OF_SINK, SINK_STEPS
from tests.chaos.episode import Episode
from tests.chaos.faults import PAUSED, SCALED, TERMINATED, Fault, killed
from tests.chaos.network_plan import network_episodes
from tests.chaos.overload import OVERLOADED

_PROCESSES = [killed("processor"), killed("analytics"), PAUSED, TERMINATED]


def _alone(fault: Fault, seconds: float, *, lateness: bool = False) -> Episode:
    return Episode(fault.name, [[fault]], seconds, lateness=lateness)


def _outputs(name: str, *lanes: list[Fault], seconds: float = 60) -> Episode:
    return Episode(f"outputs: {name}", lanes, seconds, window_s=2, outputs=True)


def _output_episodes() -> list[Episode]:
    """Faults of the sink, its files and its database; afterwards database, files and topic must have the same metrics."""
    database = [DATABASE_KILLED, DATABASE_RESTARTED, CONNECTIONS_CUT, DATABASE_FULL]
    return [
        _outputs("sink killed", [killed("sink")]),
        _outputs("sink killed while it finishes a file", [FINISHING_STEPS_OF_SINK], seconds=1),
        _outputs("sink paused", [SINK_PAUSED]),
        _outputs("PostgreSQL killed and restarted", [DATABASE_KILLED, DATABASE_RESTARTED]),
        _outputs("connections cut in mid-COMMIT", [CONNECTIONS_CUT]),
        _outputs("no space left on either side", [DATABASE_FULL, DISK_FULL]),
        _outputs("mixed", database, [killed("sink"), SINK_PAUSED, DISK_FULL], seconds=180),
    ]


def _pipeline_episodes() -> list[Episode]:
    """Faults of processes and of a single broker, each alone, then all together."""
    return [
        _alone(killed("processor"), 30),
        _alone(killed("analytics"), 30),
        _alone(killed("sink"), 25),
        _alone(killed("generator"), 25),
        _alone(PAUSED, 45),
        _alone(TERMINATED, 30),
        _alone(SCALED, 30),
        _alone(BROKER_KILLED, 40),
        _alone(BROKER_STOPPED, 1),
        _alone(ZOOKEEPER_RESTARTED, 30),
        _alone(RECORDS_REFUSED, 40),
        Episode(
            "orders-dlq and late-orders deleted", [[DEAD_LETTERS_DELETED, LATE_ORDERS_DELETED]], 0, 0.0, lateness=True
        ),
        Episode("sink killed at every step", [SINK_STEPS], 1, window_s=2),
        _alone(DISK_FULL, 25),
        _alone(CLOCK_SKEWED, 30, lateness=True),
        _alone(OVERLOADED, 1),
        *(
            Episode(
                name,
                [
                    [*_PROCESSES, SCALED, killed("generator")],
                    [BROKER_KILLED, ZOOKEEPER_RESTARTED, RECORDS_REFUSED],
                    [*SINK_STEPS, killed("sink"), DISK_FULL],
                ],
                600,
                window_s=2,
            )
            for name in ("mixed", "mixed once more")
        ),
        Episode(
            "mixed, 48 partitions",
            [[*_PROCESSES, SCALED], [BROKER_KILLED, RECORDS_REFUSED], [*SINK_STEPS, killed("sink")]],
            300,
            window_s=2,
            partitions=48,
        ),
    ]


def _cluster_episodes() -> list[Episode]:
    """Faults of single brokers of three."""
    return [
        Episode(fault.name, [[fault]], seconds, brokers=3)
        for fault, seconds in (
            (ONE_OF_THREE_KILLED, 60),
            (KILLED_IN_TURN, 1),
            (ROLLING_RESTART, 1),
            (CUT_OFF, 90),
            (CONTROLLER_KILLED, 60),
            (COORDINATOR_KILLED, 60),
            (TWO_OF_THREE_KILLED, 1),
            (STARTED_WITHOUT_CONTROLLER, 60),
        )
    ]


PARTS = ("pipeline", "outputs", "cluster", "network")


def long_form(scale: float, parts: Sequence[str] = PARTS) -> list[Episode]:
    """The episodes of these parts of the long form; ``scale`` multiplies their durations."""
    episodes = {
        "pipeline": _pipeline_episodes(),
        "outputs": _output_episodes(),
        "cluster": _cluster_episodes(),
        "network": network_episodes(scale),
    }
    return [replace(each, seconds=each.seconds * scale) for part in parts for each in episodes[part]]


SHORT_FORM = Episode(
    "the short form",
    [[ORDERS_REFUSED, PAUSED, killed("processor"), killed("analytics"), BROKER_KILLED], [ALL_SINK_STEPS]],
    window_s=2,
    replicas=2,
)
"""A fault for each way in which a guarantee could be violated, in little more than a minute."""
