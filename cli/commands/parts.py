"""`pipeline stop`, `start`, `restart` and `drain`: parts of what runs on this machine, while the rest goes on."""

from cyclopts.types import NonNegativeFloat

from cli.commands.local_mode import end_as_ctrl_c_does
from local import parts


def stop(program: str, *programs: str) -> int:
    """Stop parts of what runs on this machine; they stay stopped.

    Args:
        program: A program, such as sink or processor-2, or a service: processor is all its replicas.
        programs: More of them.
    """
    end_as_ctrl_c_does()
    return parts.stop([program, *programs])


def start(program: str, *programs: str) -> int:
    """Start parts that are stopped or have failed, and wait until they are healthy.

    Args:
        program: A program, such as sink or processor-2, or a service: processor is all its replicas.
        programs: More of them.
    """
    end_as_ctrl_c_does()
    return parts.start([program, *programs])


def restart(program: str, *programs: str) -> int:
    """Stop parts, start them again, and wait until they are healthy.

    Args:
        program: A program, such as sink or processor-2, or a service: processor is all its replicas.
        programs: More of them.
    """
    end_as_ctrl_c_does()
    return parts.restart([program, *programs])


def drain(*, timeout: NonNegativeFloat = 600.0) -> int:
    """Stop the generator, and wait until every order is in a closed window and every metric is written.

    The services go on running. Exit code 1 if something is left after the time.

    Args:
        timeout: How many seconds to wait; 0 looks once.
    """
    end_as_ctrl_c_does()
    return parts.drain(timeout)
