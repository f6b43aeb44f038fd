"""`pipeline chaos`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.types import PositiveFloat, PositiveInt

from cli.errors import UsageError
from local.kraft_files import DEFAULT_VERSION
from tests.chaos.plan import PARTS
from tests.chaos.run import ChaosOptions, run_chaos

Several = Parameter(consume_multiple=True)


def chaos(
    *,
    seed: int | None = None,
    rate: PositiveInt = 2000,
    scale: PositiveFloat = 1.0,
    part: Annotated[list[str] | None, Several] = None,
    only: Annotated[list[str] | None, Several] = None,
    kafka_4: Annotated[list[str] | None, Parameter(name="--kafka-4", consume_multiple=(0, 1))] = None,
    short: bool = False,
    markdown: Path | None = None,
) -> int:
    """Kill, pause and disconnect every part under load, and verify the results; takes an hour and a half.

    The exit code is 1 if anything was lost, duplicated or wrong.

    Args:
        seed: Seed of the faults, to repeat a run (default: a random one, which is printed).
        rate: Orders a second.
        scale: Factor for the length of each fault.
        part: Parts to run: pipeline, outputs, cluster, network (default: all).
        only: Run the faults whose names contain all of these words.
        kafka_4: Run the network faults only, on a Kafka 4 broker; its version may follow.
        short: The short form, which is one of the tests; takes two minutes.
        markdown: Also write the table to this file.
    """
    for name in part or ():
        if name not in PARTS:
            raise UsageError(f"--part {name}: there are {', '.join(PARTS)}")
    version = None if kafka_4 is None else next(iter(kafka_4), DEFAULT_VERSION)
    return run_chaos(
        ChaosOptions(
            seed=seed,
            rate=rate,
            scale=scale,
            part=part or PARTS,
            only=only or (),
            kafka_4=version,
            short=short,
            markdown=markdown,
        )
    )
