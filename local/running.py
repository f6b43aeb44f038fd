"""Finds the pipeline that runs in LOCAL_DIR."""

import os

from local.errors import LocalModeError, SilentSupervisorError
from local.settings import local_directory
from local.supervision import Supervisor


def running_supervisor() -> Supervisor:
    """The supervisor of the running pipeline.

    Raises:
        SilentSupervisorError: the supervisor runs, but does not answer, as it does not for another user.
        LocalModeError: no pipeline is running, or its supervisor has ended.
    """
    supervisor = Supervisor(local_directory())
    if not supervisor.answers():
        session, processes = supervisor.session(), supervisor.processes()
        if session and session.leader in processes:
            raise _silent(session.leader)
        if processes:
            raise LocalModeError("the supervisor has ended, but its programs still run", advice="`make down` ends them")
        raise LocalModeError(
            f"no pipeline is running in {local_directory()}",
            advice="`make run` starts one; this command is for local mode, with Docker Compose use `docker compose stop SERVICE` and its"
            " like (docs/cli.md, In Docker)",
        )
    return supervisor


def _silent(pid: int) -> SilentSupervisorError:
    try:
        os.kill(pid, 0)
    except PermissionError:
        return SilentSupervisorError(
            f"the supervisor, process {pid}, belongs to another user", advice="call the command as that user"
        )
    except ProcessLookupError:
        pass  # it has ended meanwhile
    return SilentSupervisorError(
        f"the supervisor, process {pid}, does not answer", advice="`make down` ends everything"
    )
