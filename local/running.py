"""Finds the pipeline that runs in LOCAL_DIR."""

import os

from local.errors import LocalModeError, SilentSupervisorError
from local.settings import local_directory
from local.supervision import Supervisor

_STARTS_WITHIN_S = 5.0  # from the start of the supervisor's process until it answers, on a busy machine


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
            if _is_of_another_user(session.leader):
                raise SilentSupervisorError(
                    f"the supervisor, process {session.leader}, belongs to another user",
                    advice="call the command as that user",
                )
            if supervisor.answers_within(_STARTS_WITHIN_S):
                return supervisor
            raise SilentSupervisorError(
                f"the supervisor, process {session.leader}, does not answer", advice="`make down` ends everything"
            )
        if processes:
            raise LocalModeError("the supervisor has ended, but its programs still run", advice="`make down` ends them")
        raise LocalModeError(
            f"no pipeline is running in {local_directory()}",
            advice="`make run` starts one; this command is for local mode, with Docker Compose use `docker compose stop SERVICE` and its"
            " like (docs/cli.md, In Docker)",
        )
    return supervisor


def _is_of_another_user(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except ProcessLookupError:
        pass  # it has ended meanwhile
    return False
