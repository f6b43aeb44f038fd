"""Stops a pipeline, whatever state it is in."""

import signal

from local.errors import LocalModeError
from local.programs import INFRASTRUCTURE, KAFKA_GRACE_S, SERVICE_GRACE_S, ZOOKEEPER_GRACE_S
from local.startup import Report
from local.supervision import Supervisor

_TO_KILL_S = 5.0  # in which the supervisor kills a program whose grace period is over


def stop(supervisor: Supervisor, report: Report) -> None:
    """Stop the services, then Kafka, then ZooKeeper; nothing keeps running.

    Limited in time. Ctrl-C kills the remaining programs at once; after that, it cannot be interrupted.
    """
    try:
        _stop_in_order(supervisor, report)
    except KeyboardInterrupt:
        report("killing what still runs")
    except LocalModeError as error:
        report(f"the orderly way failed ({error}); killing what still runs")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    supervisor.kill()


def _stop_in_order(supervisor: Supervisor, report: Report) -> None:
    if supervisor.answers():
        names = {program.name for program in supervisor.programs()}
        report("stopping the services")
        supervisor.stop(names - INFRASTRUCTURE, SERVICE_GRACE_S + _TO_KILL_S)
        report("stopping Kafka and ZooKeeper" if "zookeeper" in names else "stopping Kafka")
        supervisor.stop(names & {"kafka"}, KAFKA_GRACE_S + _TO_KILL_S)
        supervisor.stop(names & {"zookeeper"}, ZOOKEEPER_GRACE_S + _TO_KILL_S)
    supervisor.end()
