"""Runs a service, given by the path of its entry file, that ends after ten seconds of refused logins instead of two minutes."""

import runpy
import sys

from libs.runtime import life_cycle

if __name__ == "__main__":
    life_cycle.REFUSED_PATIENCE_S = 10.0
    entry_file = sys.argv.pop(1)
    runpy.run_path(entry_file, run_name="__main__")
