# make demo    set everything up in .venv, train on built-in singing, show where the records are
# make test    set everything up in .venv, run the whole test suite
# make lint    formatting, lint, types        make check    lint and test, what CI runs
# make faults  the long fault runs            make bench    the benchmarks
VENV   ?= .venv
PYTHON ?= python3
DEMO   ?= demo
bin    := $(VENV)/bin

.PHONY: check demo test lint faults bench clean

check: lint test

$(VENV)/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(bin)/pip install --quiet --upgrade pip
	$(bin)/pip install --quiet -c constraints.txt -e '.[train,dev]'
	touch $@

demo: $(VENV)/ready
	PATH="$(abspath $(bin)):$$PATH" sh docs/demo.sh $(DEMO)

test: $(VENV)/ready
	$(bin)/pytest -n auto --dist loadfile

lint: $(VENV)/ready
	$(bin)/ruff format --check .
	$(bin)/ruff check .
	$(bin)/mypy

faults: $(VENV)/ready
	KARAOKE_FAULT_ROUNDS=200 $(bin)/pytest tests/faults

bench: $(VENV)/ready
	for file in benchmarks/*.py; do $(bin)/python $$file || exit 1; done

clean:
	rm -rf $(DEMO) build dist .pytest_cache .mypy_cache .ruff_cache
