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
    found=''
    for name in python3 python3.14 python3.13 python3.12 python3.11 python; do
        command -v "$name" >/dev/null || continue
        # What is pinned has wheels for these versions, and nothing is compiled here.
        if "$name" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' 2>/dev/null; then
            if "$name" -c 'import ensurepip, venv' 2>/dev/null; then
                command -v "$name"
            else
                lacks "Python's venv module (Debian, Ubuntu: apt install python3-venv)"
            fi
            return
        fi
        found="$found, $("$name" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null || echo unusable) ($name)"
    done
    lacks "Python 3.11 to 3.14 (Debian, Ubuntu: apt install python3 python3-venv)${found:+; found ${found#, }}"
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
