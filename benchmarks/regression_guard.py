"""The regression guard: compares our speed relative to a bare consumer, in the same rounds, with a stored reference."""

import json
from collections.abc import Mapping
from pathlib import Path

from benchmarks.registry import Stage
from benchmarks.stats import Spread

REFERENCE_FILE = Path(__file__).with_name("reference.json")
# Machines differ in caches and memory, and rounds vary: smaller differences are not reported.
TOLERANCE = 0.7


def read_reference() -> dict[Stage, float]:
    """The stored reference: our orders per second as a share of the bare consumer's."""
    return {Stage(stage): float(ratio) for stage, ratio in json.loads(REFERENCE_FILE.read_text()).items()}


def store_reference(measured: Mapping[Stage, Spread]) -> None:
    """Store ``measured`` as the reference of later runs."""
    text = json.dumps({stage.value: round(ratio.median, 3) for stage, ratio in measured.items()}, indent=2)
    REFERENCE_FILE.write_text(text + "\n")


def regressions(measured: Mapping[Stage, Spread], reference: Mapping[Stage, float]) -> list[str]:
    """A sentence for each stage that has become far slower, or was not measured."""
    findings = []
    for stage, expected in reference.items():
        ratio = measured.get(stage)
        if ratio is None:
            findings.append(f"{stage}: not measured")
        elif ratio.median < TOLERANCE * expected:
            findings.append(
                f"{stage}: {ratio.median:.2f} of the bare consumer's speed ({ratio.low:.2f} to {ratio.high:.2f}), "
                f"it was {expected:.2f}: less than {TOLERANCE:.0%} of that"
            )
    return findings
