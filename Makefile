# make demo   set-up, a first answer from shipped measurements, then the main job live and a report (PROMPT, BUDGET)
# make test   set-up, all quick tests on all cores;  make test-slow  the slow ones (CI runs both)
# make docs   the site in docs/_build/html, warnings are errors;  make lab  the notebooks
# make bench  benchmarks;  make lint  ruff
# PIP_ARGS    more options for pip or uv, such as --index-url; without it torch comes without CUDA where there is no GPU

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
BUDGET ?= 3e8
PROMPT ?= a large red apple in noto style on a teal background
RUN = runs/demo
SL = $(BIN)/scalinglaws
CORES := $(shell nproc 2>/dev/null || sysctl -n hw.ncpu 2>/dev/null || echo 2)
INSTALL = $(PYTHON) tools/install.py --venv $(VENV)
ifdef PIP_ARGS
export PIP_ARGS
endif
# bytecode is written at the first import, not by the installation: also where the environment says otherwise
export PYTHONDONTWRITEBYTECODE :=
export OMP_NUM_THREADS ?= $(CORES)

.PHONY: demo test test-slow docs lab bench lint base-check clean

demo:
	@$(INSTALL) base
	@echo; echo "1. A first answer, from the shipped measurements: the best size and steps for $(BUDGET) FLOPs per image"
	@$(SL) optimum tiny-ldm --quality fd --where sampler=ddim guidance=1 --budget $(BUDGET) --unit flops
	@echo; echo "2. Measure: step counts that the shipped measurements leave out, live on this machine"
	@$(INSTALL) demo
	$(SL) collect run data/sweeps/demo.yaml --store $(RUN)
	@$(SL) collect export $(RUN) $(RUN)/table.csv --add data/measurements/tiny-ldm.csv
	@echo; echo "3. Fit: quality against size and steps (DDIM, no guidance)"
	$(SL) fit $(RUN)/table.csv --quality fd --where sampler=ddim guidance=1
	@echo; echo "4. Decide: size, steps, sampler and guidance for $(BUDGET) FLOPs per image, and where sizes cross"
	$(SL) optimum $(RUN)/table.csv --quality fd --budget $(BUDGET) --unit flops
	$(SL) crossover $(RUN)/table.csv --quality fd --where sampler=ddim guidance=1 --between c8 c16
	@echo; echo "5. Text to image: a prompt drawn by every size of tiny-t2i (make demo PROMPT='...' for your own)"
	$(SL) collect draw data/models/tiny-t2i $(RUN)/prompt.png --prompt "$(PROMPT)" --steps 1 4 16 50 --count 3
	$(SL) optimum tiny-t2i --quality fd_effnet_lite0 --budget $(BUDGET) --unit flops
	@echo; echo "6. Report"
	$(SL) report sampling_efficiency -p study=$(RUN)/table.csv -p budget=$(BUDGET)
	$(SL) report predict_size -p study=$(RUN)/table.csv -p budget=$(BUDGET)

# one process a core, each with one thread: faster than threads within the tests
test:
	@$(INSTALL) test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(CORES)

test-slow:
	@$(INSTALL) test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(CORES) --slow -m slow

docs:
	@$(INSTALL) docs
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html
	@echo "The site: docs/_build/html/index.html"

lint:
	@$(INSTALL) test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check collect scalinglaws tests benchmarks tools docs

lab:
	@$(INSTALL) lab
	$(BIN)/jupyter lab notebooks

bench:
	@$(INSTALL) test
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks

# the base install alone, in an environment of its own: reads, fits and predicts with no torch there
base-check:
	@$(PYTHON) tools/install.py base --venv $(VENV)-base --not-editable
	cd /tmp && $(abspath $(VENV))-base/bin/scalinglaws fit edm2 --where 'family=EDM2 img512 no guidance' \
		--law power_floor --quality fid --inputs N=gflops_per_forward
	$(VENV)-base/bin/python -c 'import importlib.util as u, sys; sys.exit(any(map(u.find_spec, ("torch", "diffusers"))))'

clean:
	rm -rf $(VENV) $(VENV)-base runs reports docs/_build docs/gallery
