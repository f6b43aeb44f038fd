#!/bin/sh
# Makes .venv with what is pinned in the requirements files, or brings it up to date.
#   local/setup.sh           the services, local mode and the command `pipeline`
#   local/setup.sh parquet   and what reads and writes Parquet
#   local/setup.sh dev       and all that the tests and the checks need
set -eu
cd "$(dirname "$0")/.."

group=${1:-}
requirements='-r requirements-cli.txt'
case $group in
    '') ;;
    parquet) requirements="$requirements -r services/sink/requirements-parquet.txt" ;;
    dev) requirements="$requirements -r requirements-dev.txt" ;;
    *) echo "setup: '$group' is neither parquet nor dev" >&2 && exit 2 ;;
esac

# A virtual environment breaks when the Python that it was made from goes away, or when the checkout is moved.
if ! .venv/bin/python -c 'import sys, pip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' 2>/dev/null; then
    python=$(sh local/prerequisites.sh python)
    echo "setup: making .venv with $("$python" --version)"
    "$python" -m venv --clear .venv
fi
echo "setup: installing the requirements${group:+ ($group)}"
# A shell that is ended by a signal would leave pip running.
trap 'kill "$pip" 2>/dev/null; exit 143' TERM HUP
run_pip() {
    .venv/bin/python -m pip install --quiet --disable-pip-version-check "$@" &
    pip=$!
    wait "$pip"
}
# To compile all bytecode takes as long as everything else, and Python compiles what it imports at the first start. Tests start
# hundreds of processes, and where no bytecode may be written each start would compile anew.
compile=--no-compile
if [ "$group" = dev ] || [ -n "${PYTHONDONTWRITEBYTECODE:-}" ]; then compile=--compile; fi
# Wheels only: a source build of aiokafka without a compiler leaves out its C extension, silently.
# shellcheck disable=SC2086 # one word for each file
run_pip "$compile" --only-binary :all: --require-hashes $requirements
# The project itself, as it is in this checkout: that makes .venv/bin/pipeline. Its build backend is among what was installed.
run_pip --no-deps --no-build-isolation --editable .
trap - TERM HUP
touch .venv/.installed ".venv/.installed${group:+-$group}"
