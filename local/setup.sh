#!/bin/sh
# Creates .venv with the pinned requirements, or updates it.
#   local/setup.sh           the services, local mode and the command `pipeline`
#   local/setup.sh parquet   also the packages for Parquet
#   local/setup.sh dev       also everything for tests and checks
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

# A virtual environment breaks if its Python is removed or the checkout is moved.
if ! .venv/bin/python -c 'import sys, pip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' 2>/dev/null; then
    python=$(sh local/prerequisites.sh python)
    echo "setup: making .venv with $("$python" --version)"
    "$python" -m venv --clear .venv
fi
echo "setup: installing the requirements${group:+ ($group)}"
# A shell that is ended by a signal would leave pip running, also at Ctrl-C, which a job in the background ignores.
trap 'kill "$!" 2>/dev/null || :; exit 143' INT TERM HUP
run_pip() {
    .venv/bin/python -m pip install --quiet --disable-pip-version-check "$@" &
    wait "$!"
}
# Compiling all bytecode takes as long as everything else, and Python compiles modules at their first import anyway. But tests
# start hundreds of processes, and if bytecode cannot be written, each of them would compile again.
compile=--no-compile
if [ "$group" = dev ] || [ -n "${PYTHONDONTWRITEBYTECODE:-}" ]; then compile=--compile; fi
# Wheels only: a source build of aiokafka without a compiler silently omits its C extension.
# shellcheck disable=SC2086 # one argument for each file
run_pip "$compile" --only-binary :all: --require-hashes $requirements
# Installs the project itself from this checkout, which creates .venv/bin/pipeline. Its build backend is already installed.
run_pip --no-deps --no-build-isolation --editable .
trap - INT TERM HUP
touch .venv/.installed ".venv/.installed${group:+-$group}"
