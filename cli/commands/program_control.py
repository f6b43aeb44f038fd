"""`pipeline stop`, `start`, `restart` and `drain`: single programs of local mode."""

from cyclopts.types import NonNegativeFloat

from cli.commands.local_mode import end_as_ctrl_c_does
from local import program_control


def stop(program: str, /, *programs: str) -> int:
    """Stop programs; they stay stopped.

    Args:
        program: A program, such as sink or processor-2, or all replicas of a service: processor.
        programs: More programs or services.
    """
    end_as_ctrl_c_does()
    return program_control.stop([program, *programs])


def start(program: str, /, *programs: str) -> int:
    """Start programs that are stopped or have failed, and wait until they are healthy.

    Args:
        program: A program, such as sink or processor-2, or all replicas of a service: processor.
        programs: More programs or services.
    """
    end_as_ctrl_c_does()
    return program_control.start([program, *programs])


def restart(program: str, /, *programs: str) -> int:
    """Stop programs, start them again, and wait until they are healthy.

    Args:
        program: A program, such as sink or processor-2, or all replicas of a service: processor.
        programs: More programs or services.
    """
    end_as_ctrl_c_does()
    return program_control.restart([program, *programs])


def drain(*, timeout: NonNegativeFloat = 600.0) -> int:
    """Stop the generator, and wait until every order is in a closed window and every metric is written.

    The services keep running. The exit code is 1 if something is left at the timeout.

    Args:
        timeout: Seconds to wait; 0 checks once.
    """
    end_as_ctrl_c_does()
    return program_control.drain(timeout)
