"""`promtool` of the Prometheus version that monitors the pipeline."""

import re
import shutil
import subprocess
from pathlib import Path

from tests.compose.project import ROOT
from tests.integration.services import HANGS_AFTER_S

COMPOSE_FILE = ROOT / "docker-compose.yml"


def image() -> str:
    """Prometheus' image, as pinned in docker-compose.yml."""
    [name] = re.findall(r"FROM (prom/prometheus:\S+)", COMPOSE_FILE.read_text())
    return str(name)


def is_installed() -> bool:
    """Whether this machine has a promtool that is new enough for our rules (durations as numbers)."""
    program = shutil.which("promtool")
    if program is None:
        return False
    result = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    return "version 2." not in result.stdout + result.stderr


def promtool(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run it in ``directory``: the installed one, or the image's."""
    # As root, since the image's user may not have access to the folder.
    mount = f"--volume={directory}:{directory}:ro"
    container = ["docker", "run", "--rm", "--network=none", "--user=0", mount, f"--workdir={directory}"]
    command = ["promtool"] if is_installed() else [*container, "--entrypoint=promtool", image()]
    return subprocess.run(
        [*command, *arguments], cwd=directory, capture_output=True, text=True, timeout=HANGS_AFTER_S, check=False
    )
