"""The broker that the tests run on."""

import subprocess
import sys
from pathlib import Path

from local.ports import is_taken
from tests.integration.services import ROOT, eventually

PROGRAM = """
import sys, time
from pathlib import Path
from local.broker import LocalBroker

broker = LocalBroker(Path(sys.argv[1]))
broker.start()
print(broker.bootstrap_servers, flush=True)
time.sleep(600)
"""


def port_of_a_killed_program(directory: Path) -> int:
    command = [sys.executable, "-c", PROGRAM, str(directory)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout
        port = int(program.stdout.readline().rpartition(":")[2])
        assert is_taken(port)
        program.kill()
    return port


async def test_the_broker_ends_with_the_program_that_started_it_even_if_killed(tmp_path: Path) -> None:
    port = port_of_a_killed_program(tmp_path)
    await eventually(lambda: not is_taken(port), what="the broker has ended")
