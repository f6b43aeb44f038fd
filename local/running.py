"""Finds the pipeline that runs in LOCAL_DIR."""

from local.errors import LocalModeError
from local.settings import local_directory
from local.supervision import Supervisor


def running_supervisor(or_else: str = "") -> Supervisor:
    """The supervisor of the running pipeline; ``or_else`` is the end of the advice if none runs.

    Raises:
        LocalModeError: no pipeline is running, or its supervisor has ended.
    """
    supervisor = Supervisor(local_directory())
    if not supervisor.answers():
        if supervisor.processes():
            raise LocalModeError("the supervisor has ended, but its programs still run", advice="`make down` ends them")
        raise LocalModeError(f"no pipeline is running in {local_directory()}", advice=f"`make run` starts one{or_else}")
    return supervisor
