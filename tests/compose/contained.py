"""``python -m tests.compose.contained COMMAND ...``: like ``local.process_tree``, and removes the tests' Compose projects as well.

Containers are no descendants of the command. A test that is ended by a signal does not stop its own.
"""

import contextlib
import os
import subprocess
import sys
import uuid
from collections.abc import Sequence

from local import process_tree

_RUN_VARIABLE = "COMPOSE_TEST_RUN"
_TIMEOUT_S = 60.0


def project_name(kind: str) -> str:
    """The name of a Compose project of this process, by which ``remove_projects`` finds it."""
    return f"{kind}-test-{os.environ.get(_RUN_VARIABLE, 'alone')}-{os.getpid()}"


def main(command: Sequence[str]) -> int:
    """Run ``command``; returns its exit code, or 128 plus the signal's number."""
    run = os.environ[_RUN_VARIABLE] = uuid.uuid4().hex[:12]
    exit_code = process_tree.main(command)
    with contextlib.suppress(OSError, subprocess.SubprocessError):  # there is no engine
        remove_projects(run)
    return exit_code


def remove_projects(run: str) -> None:
    """Remove the containers, networks, volumes and images of the projects of a run.

    Raises:
        OSError, SubprocessError: there is no engine, or it does not do it.
    """
    label = "com.docker.compose.project"
    while containers := _listed("container", run, "{{.ID}} {{.Label " + f'"{label}"' + "}}", "--all"):
        _docker("container", "rm", "--force", "--volumes", *containers)
    for kind in ("network", "volume"):
        if found := _listed(kind, run, "{{.Name}} {{.Name}}"):
            _docker(kind, "rm", *found)
    if images := _listed("image", run, "{{.Repository}} {{.Repository}}"):
        _docker("image", "rm", "--force", *images)


def _listed(kind: str, run: str, form: str, *arguments: str) -> list[str]:
    """The first words of the lines whose second word, a project's name or one that begins with it, is of this run."""
    lines = _docker(kind, "ls", "--format", form, *arguments).splitlines()
    return [line.split()[0] for line in lines if f"-test-{run}-" in line.partition(" ")[2]]


def _docker(*arguments: str) -> str:
    return subprocess.run(["docker", *arguments], check=True, capture_output=True, text=True, timeout=_TIMEOUT_S).stdout


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
