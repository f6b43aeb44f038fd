"""The figures computed from the samples of a run, and from several rounds."""

import pytest

from benchmarks.lines_of_code import java_lines, lines_of, python_lines
from benchmarks.processes import ROOT
from benchmarks.registry import OURS, Stage
from benchmarks.regression_guard import regressions
from benchmarks.samples import FIRST_RECORDS_BYTES, Sample, figures, visible_since
from benchmarks.stats import Spread, ratios, spread

MIB = 2**20


def a_run() -> list[Sample]:
    """Started at 0 s, first records between 2 s and 3 s, ten outputs a second from then on until 13 s."""
    samples = [Sample(0.0, 0.0, MIB, 0, (0, 0)), Sample(1.0, 0.5, 5 * MIB, 900, (0, 0))]
    samples += [Sample(2.0, 1.0, 6 * MIB, 1_000, (0, 0))]
    for second in range(1, 12):
        outputs = 10 * min(second, 10)
        received = FIRST_RECORDS_BYTES * 2 * min(second, 5)
        samples.append(Sample(2.0 + second, 1.0 + second / 2, (6 + second) * MIB, received, (outputs, outputs // 2)))
    return samples


def test_the_duration_is_from_the_first_records_to_the_last_output() -> None:
    found = figures(a_run(), started_s=0.0, ended_s=12.0, orders=100, by_output=True)
    assert found.start_s == 2.0
    assert found.seconds == 10.0
    assert found.whole_per_s == 10.0
    assert found.cpu_s_per_million == pytest.approx(50_000.0)
    assert found.peak_rss_mib == 17.0


def test_the_steady_rate_is_measured_between_30_and_90_per_cent() -> None:
    by_output = figures(a_run(), started_s=0.0, ended_s=12.0, orders=100, by_output=True)
    assert by_output.steady_per_s == pytest.approx(10.0)
    by_input = figures(a_run(), started_s=0.0, ended_s=12.0, orders=100, by_output=False)
    assert by_input.steady_per_s == pytest.approx(20.0, rel=0.05)


def test_a_slow_start_and_a_slow_end_do_not_affect_the_steady_rate() -> None:
    seconds_and_outputs = [(0, 0), (10, 30), (11, 60), (12, 90), (22, 100)]
    samples = [Sample(at_s, 0.0, MIB, FIRST_RECORDS_BYTES * (at_s > 0), (seen,)) for at_s, seen in seconds_and_outputs]
    found = figures(samples, started_s=0.0, ended_s=22.0, orders=100, by_output=True)
    assert found.steady_per_s == pytest.approx(30.0)
    assert found.whole_per_s == pytest.approx(100 / 22)


def test_a_run_without_output_has_no_figures() -> None:
    with pytest.raises(ValueError, match="no records"):
        figures([Sample(0.0, 0.0, MIB, 100, (0,))], started_s=0.0, ended_s=1.0, orders=100, by_output=True)


def test_the_end_is_when_the_last_output_became_visible() -> None:
    assert visible_since(a_run(), [100, 50]) == 12.0
    assert visible_since(a_run(), [95, 50]) == 12.0
    assert visible_since(a_run(), [90, 40]) == 11.0
    with pytest.raises(ValueError, match="not all outputs"):
        visible_since(a_run(), [101, 50])


def test_medians_and_their_spread() -> None:
    assert spread([]) is None
    assert spread([3.0, 1.0, 8.0]) == Spread(3.0, 1.0, 8.0, 3)
    assert spread([3.0, 1.0]) == Spread(2.0, 1.0, 3.0, 2)


def test_ratios_are_computed_per_round() -> None:
    """The machine was twice as slow in round 2, for both."""
    assert ratios({1: 30.0, 2: 15.0, 3: 33.0}, {1: 10.0, 2: 5.0, 3: 10.0}) == Spread(3.0, 3.0, 3.3, 3)
    assert ratios({1: 30.0, 2: 15.0}, {1: 10.0}) == Spread(3.0, 3.0, 3.0, 1)
    assert ratios({1: 30.0}, {}) is None


def test_the_regression_guard_reports_only_large_slowdowns() -> None:
    reference = {Stage.PROCESSOR: 0.4, Stage.ANALYTICS: 0.6}
    fine = {Stage.PROCESSOR: Spread(0.3, 0.2, 0.4, 3), Stage.ANALYTICS: Spread(0.9, 0.8, 1.0, 3)}
    assert regressions(fine, reference) == []
    slow = fine | {Stage.PROCESSOR: Spread(0.2, 0.1, 0.5, 3)}
    assert [finding.partition(":")[0] for finding in regressions(slow, reference)] == ["processor"]
    assert regressions({Stage.PROCESSOR: fine[Stage.PROCESSOR]}, reference) == ["analytics: not measured"]


def test_lines_of_code_are_neither_blank_nor_comment_nor_docstring() -> None:
    python = '"""What it\n\nis."""\n\nimport os  # why\n\n# a comment\nTEXT = """two\nlines"""\n\n\ndef f():\n    """Docs."""\n    return os\n'
    assert python_lines(python) == 5
    java = "/**\n * Docs.\n */\nclass A { // why\n\n  /* a */ int b;\n  // nothing\n}\n"
    assert java_lines(java) == 3


def test_our_lines_of_code_include_the_folders_of_the_libraries() -> None:
    paths = (path for folder in ("events", "runtime") for path in ROOT.glob(f"libs/{folder}/**/*.py"))
    libraries = sum(python_lines(path.read_text()) for path in paths)
    assert lines_of(OURS).endswith(f" + {libraries:,} in libs")
