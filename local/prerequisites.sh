#!/bin/sh
# Checks the prerequisites of this project, and names everything that is missing at once.
#   local/prerequisites.sh python java maven
# Prints the path of the newest suitable Python, if `python` is among the arguments.

missing=0

lacks() {
    echo "missing: $1" >&2
    missing=1
}

# The newest suitable one; of two with the same version, the first one.
find_python() {
    found=''
    newest=0
    without_venv=''
    for name in python3 python3.14 python3.13 python3.12 python3.11 python; do
        command -v "$name" >/dev/null || continue
        version=$("$name" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || version=unusable
        case $version in
            # The pinned packages have wheels for these versions; nothing is compiled.
            3.11 | 3.12 | 3.13 | 3.14)
                if ! "$name" -c 'import ensurepip, venv' 2>/dev/null; then
                    without_venv="$without_venv, Python $version ($name)"
                elif [ "${version#3.}" -gt "$newest" ]; then
                    newest=${version#3.}
                    python=$(command -v "$name")
                fi
                ;;
            *) found="$found, $version ($name)" ;;
        esac
    done
    if [ "$newest" -gt 0 ]; then
        echo "$python"
    elif [ -n "$without_venv" ]; then
        lacks "the venv module of ${without_venv#, } (Debian, Ubuntu: apt install python3-venv)"
    else
        lacks "Python 3.11 to 3.14 (Debian, Ubuntu: apt install python3 python3-venv)${found:+; found ${found#, }}"
    fi
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
