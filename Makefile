# Two commands matter: `make demo` and `make test`. Each creates .venv and installs what is needed on first use.
PYTHON ?= python3
BIN := .venv/bin
# uv does not read pip's configuration: what pip would find on disk, uv is told here. Empty on an ordinary machine.
UV := UV_FIND_LINKS="$(PIP_FIND_LINKS)" $(BIN)/uv
KERNEL := $(wildcard retrieval/counting/kernel/*)
INSTALL := $(UV) pip install --quiet --python $(BIN)/python --constraint constraints.txt

.PHONY: demo test test-slow lint format docs figures constraints clean help

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

demo: .venv/installed  ## a made world, embedded, counted and compared with its truth; leaves tailwag-demo/report.html
	$(BIN)/tailwag demo

test: .venv/installed  ## every test but the slow ones
	$(BIN)/python -m pytest -m "not slow"

test-slow: .venv/installed  ## the slow tests
	$(BIN)/python -m pytest -m slow

lint: .venv/installed  ## ruff, pyright, generated docs current, wheel content
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/python docs/generate.py --check
	$(BIN)/python .ci/wheel_content.py

format: .venv/installed  ## ruff's formatter and fixes
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: .venv/installed  ## remake docs/commands.md and the demo's output in the README
	$(BIN)/python docs/generate.py

# PAPER is the folder with the released files of the frequency paper; without it their figures and numbers stay as they are.
PAPER ?=

figures: .venv/installed  ## run the demo anew and take its plot and output into the docs; PAPER=DIR: the findings too
	rm -rf tailwag-demo
	$(BIN)/tailwag demo | tee docs/demo-output.txt
	cp tailwag-demo/counted-against-true.png docs/images/counted-against-true.png
	$(BIN)/tailwag world show --out docs/images/world.png
	$(BIN)/python docs/estimate_figure.py
	$(if $(PAPER),$(BIN)/python docs/findings.py $(PAPER))
	$(if $(PAPER),$(BIN)/python docs/comparing_tables.py $(PAPER))
	$(BIN)/python docs/generate.py

# torch, torchvision and the triton that torch's CUDA build asks for must match, and are large: they move only when someone
# moves them here.
constraints: .venv/bin/uv  ## pin the newest versions that work together into constraints.txt
	printf 'torch==2.13.0\ntorchvision==0.28.0\ntriton==3.7.1\n' | $(UV) pip compile --quiet --python $(BIN)/python --no-annotate --no-header \
		--constraint - --extra dev pyproject.toml | sed 's/+cpu$$//' > constraints.new
	mv constraints.new constraints.txt

clean:  ## remove .venv and everything made
	rm -rf .venv build dist *.egg-info tailwag-demo retrieval/counting/*.so

.venv/bin/uv:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "tailwag needs Python 3.11 or later: make PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv

.venv/installed: .venv/bin/uv pyproject.toml constraints.txt $(KERNEL)
	$(INSTALL) --editable '.[dev]'
	touch $@
