#!/bin/sh
# Makes .venv with everything pinned in the requirements files, or brings it up to date.
set -eu
cd "$(dirname "$0")/.."

# A virtual environment breaks when the Python that it was made from goes away, or when the checkout is moved.
if ! .venv/bin/python -c 'import sys, pip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' 2>/dev/null; then
    python=$(sh local/prerequisites.sh python)
    echo "setup: making .venv with $("$python" --version)"
    "$python" -m venv --clear .venv
fi
echo "setup: installing the requirements"
# A shell that is ended by a signal would leave pip running.
trap 'kill "$pip" 2>/dev/null; exit 143' TERM HUP
# Wheels only: a source build of aiokafka without a compiler leaves out its C extension, silently.
.venv/bin/python -m pip install --quiet --disable-pip-version-check --only-binary :all: --require-hashes \
    -r requirements.txt -r requirements-dev.txt &
pip=$!
wait "$pip"
trap - TERM HUP
touch .venv/.installed
