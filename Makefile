# make demo   set-up, the main job on the bundled family, the answer and a report
# make test   set-up, all quick tests;  make test-slow  the slow ones (CI runs both)
# make lab    the notebooks;  make bench  benchmarks;  make lint  ruff
# PIP_ARGS    more options for pip, say --extra-index-url https://download.pytorch.org/whl/cpu for torch without CUDA

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
PIP_ARGS ?=
BUDGET ?= 3e8
RUN = runs/demo
SL = $(BIN)/scalinglaws
export OMP_NUM_THREADS ?= $(shell nproc 2>/dev/null || echo 2)

.PHONY: demo test test-slow lab bench lint base-check clean

$(BIN)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "scalinglaws needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet $(PIP_ARGS) -c constraints.txt torch
	$(BIN)/python -m pip install --quiet $(PIP_ARGS) -c constraints.txt -e '.[collect,notebooks,dev]'
	touch $@

demo: $(BIN)/.ready
	@echo "1. Measure: step counts that the shipped measurements leave out, live on this machine"
	$(SL) collect run data/sweeps/demo.yaml --store $(RUN)
	@$(SL) collect export $(RUN) $(RUN)/table.csv --add data/measurements/tiny-ldm.csv
	@echo; echo "2. Fit: quality against size and steps (DDIM, no guidance)"
	$(SL) fit $(RUN)/table.csv --quality fd --where sampler=ddim guidance=1
	@echo; echo "3. Decide: size, steps, sampler and guidance for $(BUDGET) FLOPs an image, and where sizes swap"
	$(SL) optimum $(RUN)/table.csv --quality fd --budget $(BUDGET) --unit flops
	$(SL) crossover $(RUN)/table.csv --quality fd --where sampler=ddim guidance=1 --between c8 c16
	@echo; echo "4. Report"
	$(SL) report sampling_efficiency -p study=$(RUN)/table.csv -p budget=$(BUDGET)
	$(SL) report predict_size -p study=$(RUN)/table.csv -p budget=$(BUDGET)

test: $(BIN)/.ready
	$(BIN)/python -m pytest

test-slow: $(BIN)/.ready
	$(BIN)/python -m pytest --slow -m slow

lint: $(BIN)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check collect scalinglaws tests benchmarks

lab: $(BIN)/.ready
	$(BIN)/jupyter lab notebooks

bench: $(BIN)/.ready
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks

# the base install alone, in an environment of its own: reads, fits and predicts with no torch there
base-check: constraints.txt
	$(PYTHON) -m venv $(VENV)-base
	$(VENV)-base/bin/python -m pip install --quiet $(PIP_ARGS) -c constraints.txt .
	cd /tmp && $(abspath $(VENV))-base/bin/scalinglaws fit edm2 --where 'family=EDM2 img512 no guidance' \
		--law power_floor --quality fid --inputs N=gflops_per_forward
	$(VENV)-base/bin/python -c 'import importlib.util as u, sys; sys.exit(any(map(u.find_spec, ("torch", "diffusers"))))'

clean:
	rm -rf $(VENV) $(VENV)-base runs reports
