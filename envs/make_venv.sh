#!/bin/sh
# Makes .venv, with uv in it. Its Python is $PYTHON, another one of this machine, or one that uv brings: one that
# requirements.lock serves (pyproject.toml: requires-python; `make lock` checks it).
set -eu
serves='import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))'
venv=.venv/bin

from_this_machine() {
    for python in "${PYTHON:-python3}" python3.13 python3.12 python3.11; do
        if "$python" -c "import ensurepip; $serves" 2>/dev/null; then
            "$python" -m venv --clear .venv
            return
        fi
    done
    return 1
}

by_uv() {
    uv=$(command -v uv) || {
        tools=$(mktemp -d)
        trap 'rm -rf "$tools"' EXIT
        python3 -m venv "$tools" && "$tools/bin/python" -m pip install --quiet --disable-pip-version-check \
            --require-hashes -r requirements-uv.lock || return 1
        uv=$tools/bin/uv
    }
    echo "No Python 3.11, 3.12 or 3.13 here: uv brings one"
    "$uv" venv --clear --python '>=3.11,<3.14' .venv &&
        "$uv" pip install --python $venv/python --require-hashes -r requirements-uv.lock
}

"$venv/python" -c "$serves" 2>/dev/null || from_this_machine || by_uv || {
    found=$("${PYTHON:-python3}" --version 2>&1 || true)
    echo "synthmed runs with Python 3.11, 3.12 and 3.13 (with its module venv: package python3-venv on Debian and" \
        "Ubuntu), but here is ${found:-none}, and uv could not bring one; install one of them, then name it:" \
        "make results PYTHON=/path/to/python3.13" >&2
    exit 1
}
test -x $venv/uv || $venv/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-uv.lock
