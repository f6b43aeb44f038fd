"""``python -m tests.compose.container_cleanup COMMAND ...``: like ``local.process_tree``, and removes the tests' Compose projects as well.

Containers are no descendants of the command. A test that is ended by a signal does not stop its own.
"""

import os
import subprocess
import sys
import uuid
from collections.abc import Sequence

from local import process_tree
from tests.compose.project import DockerError, docker, engine_problem

_RUN_VARIABLE = "COMPOSE_TEST_RUN"


def project_name(kind: str) -> str:
    """The name of a Compose project of this process, by which ``remove_projects`` finds it."""
    return f"{kind}-test-{os.environ.get(_RUN_VARIABLE, 'alone')}-{os.getpid()}"


def main(command: Sequence[str]) -> int:
    """Run ``command``; returns its exit code, or 128 plus the signal's number."""
    run = os.environ[_RUN_VARIABLE] = uuid.uuid4().hex[:12]
    exit_code = process_tree.main(command)
    if engine_problem() is None:
        try:
            remove_projects(run)
        except (DockerError, subprocess.TimeoutExpired) as error:
            print(f"Containers of the tests may be left: {error}", file=sys.stderr)  # noqa: T201
    return exit_code


def remove_projects(run: str) -> None:
    """Remove the containers, networks, volumes and images of the projects of a run.

    Raises:
        DockerError, TimeoutExpired: the engine does not do it.
    """
    of_run = f"-test-{run}-"
    for kind, name, *filters in (
        ("container", "{{.Names}}", "--all", "--filter", f"name={of_run}"),
        ("network", "{{.Name}}", "--filter", f"name={of_run}"),
        ("volume", "{{.Name}}", "--filter", f"name={of_run}"),
        ("image", "{{.Repository}}", "--filter", f"reference=*{of_run}*"),
    ):
        # Repeated, since the engine may still be creating what the ended command asked for.
        while found := docker(kind, "ls", "--format", name, *filters).split():
            anonymous = ["--volumes"] if kind == "container" else []
            docker(kind, "rm", "--force", *anonymous, *found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
