"""The short form of ``make fuzz``: every target, seeded, so that a failure comes again."""

import subprocess
import sys
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.orders import Orders
from tests.fuzz.run import run
from tests.fuzz.targets import TARGETS
from tests.integration.services import ROOT

COUNT = 20_000


@pytest.mark.usefixtures("_silent")
@pytest.mark.parametrize("name", TARGETS)
def test_each_input_is_taken_or_refused_as_it_should(name: str) -> None:
    outcome = run(name, "short", COUNT)
    assert not outcome.crashes, outcome.examples[0]
    assert outcome.accepted > outcome.inputs / 20, "hardly any is sound: the damage hides what sound ones would show"
    assert outcome.refused > outcome.inputs / 4


def test_the_same_seed_gives_the_same_orders() -> None:
    first, again, other = (Orders(Random(seed)) for seed in (1, 1, 2))
    values = [first.value() for _ in range(500)]
    assert values == [again.value() for _ in range(500)]
    assert values != [other.value() for _ in range(500)]


@pytest.mark.usefixtures("_silent")
@settings(max_examples=60)
@given(st.sampled_from(sorted(TARGETS.keys() - {"damaged file"})), st.randoms(use_true_random=False))
def test_nothing_that_hypothesis_looks_for_is_wrong(name: str, random: Random) -> None:
    """Its search and its shrinking, where the seeded runs have only chance."""
    TARGETS[name].make(random).batch()


def test_the_command_prints_one_table() -> None:
    command = [sys.executable, "-m", "tests.fuzz", "--count", "2000", "--seed", "1", "--target", "orders"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    (row,) = [line.split("│")[1:-1] for line in result.stdout.splitlines() if line.startswith("│")]
    target, inputs, accepted, refused, crashes, growth_mib = (cell.strip() for cell in row)
    assert (target, inputs, crashes) == ("orders", "2,000", "0")
    assert int(accepted.replace(",", "")) + int(refused.replace(",", "")) == 2000
    assert float(growth_mib) >= 0
