#!/usr/bin/env bash
# Snakemake runs this inside the new environment, from the folder in which it was started.
set -euo pipefail
repository=${SYNTHMED_REPOSITORY:-$PWD}
python -m pip install --quiet --disable-pip-version-check --require-hashes -r "$repository/requirements.lock"
python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable "$repository"
