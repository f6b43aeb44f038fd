"""Finds the pipeline that runs in LOCAL_DIR."""

from local.errors import LocalModeError
from local.settings import local_directory
from local.supervision import Supervisor


def running_supervisor() -> Supervisor:
    """The supervisor of the running pipeline.

    Raises:
        LocalModeError: no pipeline is running, or its supervisor has ended.
    """
    supervisor = Supervisor(local_directory())
    if not supervisor.answers():
        if supervisor.processes():
            raise LocalModeError("the supervisor has ended, but its programs still run", advice="`make down` ends them")
        raise LocalModeError(f"no pipeline is running in {local_directory()}", advice="`make run` starts one")
    return supervisor
