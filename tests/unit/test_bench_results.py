"""The files that a benchmark's results are written to."""

import re
from pathlib import Path

import pytest

from benchmarks.results import write_results
from tests.integration.services import ROOT

ABOUT = {
    "at": "2026-01-01T00:00:00+00:00",
    "minutes": 1.0,
    "machine": "2 cores",
    "seed": 1,
    "python": "3.11",
    "left_out": {"Faust": "no wheels"},
}


@pytest.mark.parametrize("below", ["", "last"])
def test_the_page_links_to_the_readme_from_any_folder(below: str, tmp_path: Path) -> None:
    folder = tmp_path / below
    write_results(folder, [], ABOUT)
    targets = re.findall(r"\]\((\S+README\.md)\)", (folder / "results.md").read_text())
    assert [(folder / target).resolve() for target in targets] == [ROOT / "benchmarks" / "README.md"]
