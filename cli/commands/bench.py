"""`pipeline bench`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.types import PositiveFloat, PositiveInt

from benchmarks.bench import BenchOptions, run_bench
from benchmarks.run_series import Part

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
    """Compare this pipeline's speed with a bare consumer's; takes three minutes.

    It starts its own broker. The exit code is 1 if a result is not exact, or if the ratio to the bare consumer is far below the
    stored reference.

    Args:
        peers: Measure all other frameworks, too; takes half an hour.
        only: Measure these other frameworks only, such as quix or kafka_streams.
        orders: Largest number of orders in a run.
        rounds: Largest number of rounds, as far as time allows.
        minutes: Start no further run after so many minutes (default: 2.5, with --peers 28.5).
        parts: Parts to run (default: all).
        seed: Seed of the orders and of the times of the kills.
        results: Folder for tables and plot (default: benchmarks/results, without --peers benchmarks/results/last).
        update_reference: Store this run's ratios as the reference of later runs.
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
