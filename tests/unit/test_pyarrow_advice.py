"""What commands advise where pyarrow is missing, and when make installs it."""

import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import pytest

from libs.checkout import ROOT
from libs.runtime.errors import PipelineError
from metrics_report.file_source import _rows_of_parquet
from metrics_report.formats import write_parquet
from metrics_report.skipped import Skipped
from verification.output_file import read_lines


@pytest.mark.parametrize("image", [False, True])
def test_the_advice_can_be_followed_where_it_is_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, image: bool
) -> None:
    if image:
        monkeypatch.setattr("libs.checkout.ROOT", tmp_path)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    day = datetime(2026, 11, 27, tzinfo=UTC).strftime("%Y-%m-%dT%H-%MZ")
    finished = tmp_path / f"metrics-{day}--{day}.parquet"
    finished.touch()
    for read in (
        lambda: read_lines(tmp_path / "metrics.json", 60),
        lambda: list(_rows_of_parquet(finished, Skipped())),
        lambda: write_parquet([], BytesIO()),
    ):
        with pytest.raises(PipelineError, match="needs pyarrow") as error:
            read()
        if image:
            assert "SINK_ROTATED_FORMAT=parquet in `.env`" in error.value.advice
            assert "`docker compose build cli`" in error.value.advice
            assert "pip" not in error.value.advice
        else:
            assert f"`{sys.executable} -m pip install -r services/sink/requirements-parquet.txt`" in error.value.advice


@pytest.mark.parametrize(
    ("file", "text", "installs"),
    [
        ("output/metrics.json", "", False),
        ("output/metrics-a--b.parquet", "", True),
        (".env", "SINK_ROTATED_FORMAT=parquet\n", True),
        (".env", "# SINK_ROTATED_FORMAT=parquet\nSINK_ROTATED_FORMAT=gzip\n", False),
    ],
)
def test_make_installs_pyarrow_where_parquet_is_read(tmp_path: Path, file: str, text: str, *, installs: bool) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text(text)
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("SINK_", "MAKE", "MFLAGS"))
    }
    done = subprocess.run(
        ["make", "--print-data-base", "--question", "verify"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    [verify] = (line for line in done.stdout.splitlines() if line.startswith("verify: .venv/"))
    assert (".venv/.installed-parquet" in verify) is installs
