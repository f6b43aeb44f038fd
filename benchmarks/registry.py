"""Who takes part, and how each wants to be run."""

from dataclasses import dataclass, replace
from enum import StrEnum


class Stage(StrEnum):
    """What is measured; ``BOTH`` is both services on one core."""

    PROCESSOR = "processor"
    ANALYTICS = "analytics"
    BOTH = "both"


class Kind(StrEnum):
    """Where a contender's environment comes from."""

    SERVICES = "services"  # what the services' containers have
    VENV = "venv"  # requirements.txt
    JAVA = "java"  # pom.xml


_ALL_STAGES = (Stage.PROCESSOR, Stage.ANALYTICS, Stage.BOTH)


@dataclass(frozen=True)
class Contender:
    """A program in ``contenders/<folder>``, with one guarantee.

    Attributes:
        orders: how many at most in a run: fewer for those that would take minutes.
        one_topology: whether both stages are one process.
        machine_processes: processes of each program when the whole machine works on a backlog; 0 leaves it out.
        machine_threads: threads of each.
        graces_s: periods of grace to try then; one figure for those that have none.
    """

    folder: str
    title: str
    guarantee: str
    kind: Kind
    stages: tuple[Stage, ...] = _ALL_STAGES
    orders: int = 1_000_000
    one_topology: bool = False
    machine_processes: int = 0
    machine_threads: int = 1
    graces_s: tuple[int, ...] = (10, 300)

    @property
    def name(self) -> str:
        return f"{self.folder}-{self.guarantee}"

    def programs(self, stage: Stage) -> list[Stage]:
        """The value of BENCH_STAGE of each process that works ``stage``."""
        if stage is Stage.BOTH and not self.one_topology:
            return [Stage.PROCESSOR, Stage.ANALYTICS]
        return [stage]


OURS = Contender("ours", "this pipeline", "eos", Kind.SERVICES, machine_processes=3, graces_s=(0,))
BARE = Contender(
    "bare", "bare aiokafka consumer", "reads", Kind.SERVICES, (Stage.PROCESSOR, Stage.ANALYTICS), graces_s=()
)
REFERENCE = Contender(
    "kafka_streams", "Kafka Streams", "eos", Kind.JAVA, one_topology=True, machine_processes=1, machine_threads=4
)
PEERS = (
    REFERENCE,
    replace(REFERENCE, guarantee="alo"),
    Contender("bytewax", "Bytewax", "alo", Kind.VENV, one_topology=True, machine_processes=1, machine_threads=4),
    Contender("quix", "Quix Streams", "eos", Kind.VENV, orders=200_000, one_topology=True, machine_processes=3),
    Contender("faststream", "FastStream", "alo", Kind.VENV, (Stage.PROCESSOR,), orders=300_000),
    Contender("faust", "Faust", "alo", Kind.VENV, orders=30_000, one_topology=True, machine_processes=3),
    Contender("tutorial", "tutorial style", "alo", Kind.SERVICES, orders=15_000, machine_processes=3),
)
