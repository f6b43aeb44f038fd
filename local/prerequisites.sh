#!/bin/sh
# Looks for what this project needs on the machine and names everything that is missing, at once.
#   local/prerequisites.sh python java maven
# Prints the path of a fitting Python, when asked for one.

missing=0

lacks() {
    echo "missing: $1" >&2
    missing=1
}

find_python() {
    for name in python3 python3.13 python3.12 python3.11 python3.14 python; do
        if command -v "$name" >/dev/null && "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            if "$name" -c 'import ensurepip, venv' 2>/dev/null; then
                command -v "$name"
            else
                lacks "Python's venv module (Debian, Ubuntu: apt install python3-venv)"
            fi
            return
        fi
    done
    lacks "Python 3.11 or later (Debian, Ubuntu: apt install python3 python3-venv)"
}

find_java() {
    version=$("${JAVA_HOME:+$JAVA_HOME/bin/}java" -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p')
    if [ "${version:-0}" -lt 17 ]; then
        lacks "Java 17 or later (Debian, Ubuntu: apt install default-jre-headless)${version:+; found Java $version}"
    fi
}

find_maven() {
    command -v mvn >/dev/null || lacks "Maven (Debian, Ubuntu: apt install maven)"
}

for tool in "$@"; do
    "find_$tool"
done
exit $missing
