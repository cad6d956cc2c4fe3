# Commands for a fresh checkout. They make their own virtual environment in .venv; nothing else is needed than Python and pip.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DOCS_STAMP := $(VENV)/.docs-installed

OLDEST_PYTHON ?= python3.10
GPU_PYTHON ?= $(if $(wildcard $(BIN)/python),$(BIN)/python,$(PYTHON))
GPU_MINUTES ?= $(if $(REHEARSE),6,9)
OUT ?= runs/gpu
COMPILED := $(wildcard gadgets/onebreath/networks/convolution/*.[ch])

.PHONY: demo test lint oldest docs papers bench train-demo gpu gpu-pack clean

demo: $(STAMP)  ## simulate a scan, stream it through the chain, leave pictures and a table in demo/
	$(BIN)/onebreath demo --output demo

test: $(STAMP) lint  ## linters, types and all tests
	$(BIN)/python -m pytest -n auto --dist loadfile

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

oldest:  ## all tests with the oldest Python and the oldest libraries of pyproject.toml; PyTorch is as in requirements.txt
	$(OLDEST_PYTHON) -m venv .venv-oldest
	.venv-oldest/bin/pip install --quiet uv 'setuptools>=77'
	grep '^torch==' requirements.txt > .venv-oldest/torch.txt
	VIRTUAL_ENV=.venv-oldest .venv-oldest/bin/uv pip install --quiet --resolution lowest-direct \
	    --override .venv-oldest/torch.txt --editable '.[dev]'
	.venv-oldest/bin/python -m pytest -n auto --dist loadfile -W ignore::DeprecationWarning -W ignore::PendingDeprecationWarning

docs: $(DOCS_STAMP)  ## the documentation as a site in site/; runs the notebooks, and fails on a link that leads nowhere
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

papers: $(STAMP)  ## docs/papers.md: what the papers claim beside what was measured here
	$(BIN)/python -m onebreath.evaluation.papers

bench: $(STAMP)  ## a page of times beside those of named peers, in the same run
	$(BIN)/python -m benchmarks

train-demo: $(STAMP)  ## train a tiny network on phantoms; fails if the loss falls too little
	$(BIN)/python -m onebreath.training.demo runs/demo

gpu-pack: $(STAMP)  ## put what a bare machine without network lacks into gpu-pack/; see docs/gpu.md
	$(BIN)/python -m benchmarks.gpu.pack

gpu:  ## all that needs a GPU, on a bare machine that has torch: tests, benchmarks, training (REHEARSE=1: tiny, on a CPU)
	$(GPU_PYTHON) -m benchmarks.gpu --out "$(OUT)" --minutes $(GPU_MINUTES) $(if $(REHEARSE),--rehearse) $(GPU_OPTIONS)

$(STAMP): requirements.txt setup.py pyproject.toml $(COMPILED)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet -r requirements.txt
	$(BIN)/pip install --quiet --no-deps --editable .
	touch $@

$(DOCS_STAMP): requirements-docs.txt $(STAMP)
	$(BIN)/pip install --quiet -r requirements-docs.txt
	touch $@

clean:
	rm -rf $(VENV) .venv-oldest demo build site gadgets/*.egg-info gadgets/onebreath/networks/convolution/*.so
