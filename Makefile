# make          set up and run the study of params.yaml on all cores (the same as `make demo`)
# make setup    only make the environment in .venv
# make test     set up and run the tests that take seconds
# make test-slow, make test-slurm (where a SLURM runs), make lint

PYTHON ?= $(shell command -v python3.11 || command -v python3)
export PATH := $(CURDIR)/.venv/bin:$(PATH)

.PHONY: demo setup lint test test-slow test-slurm clean

demo: setup
	snakemake --cores all
	@echo "The report: runs/report/report.html"

setup: .venv/.ready

# bytecode is written by all cores, where pip takes one; some packages hold files for other Pythons
.venv/.ready: constraints.txt pyproject.toml
	$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 11) else f"Python 3.11 or newer is needed, {sys.executable} is {v[0]}.{v[1]}; say make PYTHON=...")'
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install -q --disable-pip-version-check -c constraints.txt setuptools
	.venv/bin/python -m pip install -q --disable-pip-version-check -c constraints.txt \
	    --no-build-isolation --no-compile -e '.[workflow,dev]'
	.venv/bin/python -m compileall -q -j 0 .venv/lib >/dev/null 2>&1 || true
	touch $@

lint: setup
	ruff check .
	ruff format --check .
	snakefmt --check Snakefile workflow/rules
	mypy
	snakemake --lint

# each process of pytest computes in one thread, as there is one more than cores
PYTEST = OMP_NUM_THREADS=1 python -m pytest -n auto --dist loadgroup

test: setup
	$(PYTEST) -m "not slow and not gpu and not slurm"

test-slow: setup
	$(PYTEST) -m "slow and not gpu and not slurm"

# one after the other: they share a cluster
test-slurm: setup
	OMP_NUM_THREADS=1 python -m pytest -m slurm tests/workflow/test_slurm*.py

clean:
	rm -rf runs results logs scratch .snakemake
