# `make run`: from a clean clone to a service that answers. `make test`: lint, types, import rules, tests.
# Both need Python 3.11 and nothing else; everything is put into .venv.

PYTHON ?= python3.11
BIN := .venv/bin
RUN := .venv/installed-train
DEV := .venv/installed-dev

.PHONY: run test lint types imports unit bench-quality bench-serve clean

run: $(RUN)
	@$(BIN)/earful models --json 2>/dev/null | grep -q champion || \
		$(BIN)/earful train --data data/starter --test data/gold/gold.jsonl \
			--taxonomy data/taxonomy.toml --urgency-column urgency \
			--epochs 2 --learning-rate 4e-4 --frozen-layers 2 --consistency 0 --promote
	@$(BIN)/earful serve

test: lint types imports unit

lint: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(DEV)
	$(BIN)/mypy

imports: $(DEV)
	$(BIN)/lint-imports

unit: $(DEV)
	$(BIN)/python -m pytest

# Earful beside its peers, SetFit among them: make bench-quality DATA=folder-with-banking77
bench-quality: $(RUN)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[bench]'
	$(BIN)/python -m benchmarks.quality --data $(DATA) --sets banking77

# The service beside its peers, in ten minutes: make bench-serve DATA=folder-with-banking77 BUNDLE=bundles/mine
bench-serve: $(RUN)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[bench]'
	$(BIN)/python -m benchmarks.serve --data $(DATA) --bundle $(BUNDLE)

# One environment for all, and in it first what running needs; rebuilt when what it is made from changes.
$(RUN) $(DEV): .venv/installed-%: pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "Earful needs Python 3.11; name yours: make run PYTHON=python3"; exit 1; }
	@test -d .venv || $(PYTHON) -m venv .venv
	@echo 'setting up .venv: about two minutes and 2 GB the first time'
	@$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[train,$*]'
	@touch $@

clean:
	rm -rf .venv bundles mlruns/mlflow.db mlruns/artifacts
