#!/usr/bin/env bash
# Snakemake runs this inside the new environment, from the working directory (--directory), so the workflow says in
# SYNTHMED_REPOSITORY where the repository is.
set -euo pipefail
# Not packages that lie in ~/.local: pip would take them for installed ones.
export PYTHONNOUSERSITE=1
pip="$CONDA_PREFIX/bin/python -m pip install --quiet --disable-pip-version-check --no-input"
$pip --require-hashes -r "$SYNTHMED_REPOSITORY/requirements.lock"
$pip --no-deps --no-build-isolation --editable "$SYNTHMED_REPOSITORY"
