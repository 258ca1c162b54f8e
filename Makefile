# `make run`: from a clean clone to a service that answers. `make test`: lint, types, import rules, tests.
# Both need Python 3.11 and nothing else; everything is put into .venv.

PYTHON ?= python3.11
EXTRAS ?= train,dev
BIN := .venv/bin
STAMP := .venv/installed

.PHONY: run test lint types imports unit bench-quality clean

run: $(STAMP)
	@$(BIN)/earful models --json 2>/dev/null | grep -q champion || \
		$(BIN)/earful train --data data/starter --test data/gold/gold.jsonl \
			--taxonomy data/taxonomy.toml --urgency-column urgency \
			--epochs 2 --learning-rate 4e-4 --frozen-layers 2 --consistency 0 --promote
	@$(BIN)/earful serve

test: lint types imports unit

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/mypy

imports: $(STAMP)
	$(BIN)/lint-imports

unit: $(STAMP)
	$(BIN)/python -m pytest

# Earful beside its peers, in about half an hour: make bench-quality DATA=folder-with-banking77
bench-quality: $(STAMP)
	$(BIN)/python -m benchmarks.quality --data $(DATA) --sets banking77

# One environment for all; rebuilt when what it is made from changes.
$(STAMP): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "Earful needs Python 3.11; name yours: make run PYTHON=python3"; exit 1; }
	@test -d .venv || $(PYTHON) -m venv .venv
	@echo 'setting up .venv: about two minutes and 2 GB the first time'
	@$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[$(EXTRAS)]'
	@touch $@

clean:
	rm -rf .venv bundles mlruns/mlflow.db mlruns/artifacts
