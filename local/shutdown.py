"""Stops a pipeline, whatever state it is in."""

import signal

from local.errors import LocalModeError
from local.startup import Report
from local.supervision import Supervisor

# Each a little longer than the programs' grace periods, after which the supervisor kills them.
_SERVICES_S = 25.0
_KAFKA_S = 35.0
_ZOOKEEPER_S = 15.0


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
        infrastructure = {"kafka", "zookeeper"}
        report("stopping the services")
        supervisor.stop(names - infrastructure, _SERVICES_S)
        report("stopping Kafka and ZooKeeper" if "zookeeper" in names else "stopping Kafka")
        supervisor.stop(names & {"kafka"}, _KAFKA_S)
        supervisor.stop(names & {"zookeeper"}, _ZOOKEEPER_S)
    supervisor.end()
