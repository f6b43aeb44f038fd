"""The contenders, and how each is run."""

from dataclasses import dataclass, replace
from enum import StrEnum


class Stage(StrEnum):
    """The measured stage; ``BOTH`` is both services on one core."""

    PROCESSOR = "processor"
    ANALYTICS = "analytics"
    BOTH = "both"


class Kind(StrEnum):
    """The kind of a contender's environment."""

    SERVICES = "services"  # the packages of the services' containers
    VENV = "venv"  # requirements.txt
    JAVA = "java"  # pom.xml


_ALL_STAGES = (Stage.PROCESSOR, Stage.ANALYTICS, Stage.BOTH)


@dataclass(frozen=True)
class Contender:
    """A program in ``contenders/<folder>``, with one delivery guarantee.

    Attributes:
        orders: the maximum number in a run, lower for contenders that would take minutes.
        one_topology: whether both stages run in one process.
        machine_processes: processes of each program in the run on the whole machine; 0 leaves the contender out.
        machine_threads: threads of each process.
        graces_s: the grace periods to try in that run; a single value for contenders without one.
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
        """The value of BENCH_STAGE of each process that runs ``stage``."""
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
