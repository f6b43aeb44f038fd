"""`pipeline bench`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.types import PositiveFloat, PositiveInt

from benchmarks.bench import BenchOptions, run_bench
from benchmarks.campaign import Part

Several = Parameter(consume_multiple=True)


def bench(
    *,
    peers: bool = False,
    only: Annotated[list[str] | None, Several] = None,
    orders: PositiveInt = 1_000_000,
    rounds: PositiveInt = 3,
    minutes: PositiveFloat | None = None,
    parts: Annotated[list[Part] | None, Several] = None,
    seed: int = 1,
    results: Path | None = None,
    update_reference: bool = False,
) -> int:
    """Measure this pipeline's speed beside a bare consumer's; three minutes.

    It starts a broker of its own. Exit code 1 if it is not exact, or far slower, against the bare consumer, than it was.

    Args:
        peers: Measure all other frameworks, too; half an hour.
        only: These peers, such as quix or kafka_streams.
        orders: At most so many in a run.
        rounds: At most so many, as far as time allows.
        minutes: After which no further run of a round begins (default: 2.5, with peers 28.5).
        parts: What to run (default: all).
        seed: Of the orders and of the moments of the kills.
        results: Folder for tables and plot (default: benchmarks/results, without --peers its folder last).
        update_reference: Make this run what later ones are compared with.
    """
    return run_bench(
        BenchOptions(
            peers=peers,
            only=only or (),
            orders=orders,
            rounds=rounds,
            minutes=minutes,
            parts=parts or tuple(Part),
            seed=seed,
            results=results,
            update_reference=update_reference,
        )
    )
