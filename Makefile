# make demo     set everything up in .venv, train on built-in singing, show its curves and where the records are
# make quick    the tests that need no torch, wandb SDK or systemd and start no programs
# make test     set everything up in .venv, run the whole test suite
# make lint     formatting, lint, types        make check    lint and test, what CI runs
# make coverage the suite with branches measured, in its subprocesses, too: a table, and HTML
# make model    the package's model, from nothing: two hours of one core, resumed when broken off
# make fuzz     anything in files and answers: minutes   make audit  known vulnerabilities
# make soak     everything at once, for MINUTES=20; writes docs/soak.md
# make faults   the long fault runs            make bench    the benchmarks; FULL=1 writes docs/benchmarks.md
# KARAOKE_TEST_PATIENCE=3 make …    three times the time for everything that tests wait for
VENV   ?= .venv
PYTHON ?= python3
DEMO   ?= demo
bin    := $(VENV)/bin
tests  := $(bin)/pytest -n 4 --dist loadfile
# `quick` is content with less, where not everything is installed yet
least  := $(if $(wildcard $(VENV)/ready),$(VENV)/ready,$(VENV)/ready-for-quick)

.PHONY: check demo quick test lint coverage model faults soak fuzz audit bench clean

check: lint test

$(VENV)/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(bin)/pip install --quiet --upgrade pip
	$(bin)/pip install --quiet -c constraints.txt -e '.[train,dev]'
	touch $@

$(VENV)/ready-for-quick: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(bin)/pip install --quiet --upgrade pip
	$(bin)/pip install --quiet -c constraints.txt -e '.[test]'
	touch $@

demo: $(VENV)/ready
	PATH="$(abspath $(bin)):$$PATH" sh docs/demo.sh $(DEMO)

quick: $(least)
	@# no more workers than processors: each collects all tests anew
	$(tests) -n logical --maxprocesses 4 --quick

test: $(VENV)/ready
	$(tests)

lint: $(VENV)/ready
	$(bin)/ruff format --check .
	$(bin)/ruff check .
	$(bin)/mypy

coverage: $(VENV)/ready
	rm -rf build/coverage && mkdir -p build/coverage
	@# failed tests don't keep the tables back; a process that was killed leaves an empty file
	KARAOKE_TEST_PATIENCE=$${KARAOKE_TEST_PATIENCE:-2} \
	    $(bin)/coverage run -m pytest -n auto --dist loadfile; failed=$$?; \
	find build/coverage -type f -empty -delete; \
	$(bin)/coverage combine --quiet && $(bin)/coverage html --quiet && \
	    $(bin)/coverage report --sort=cover && exit $$failed

model: $(VENV)/ready
	$(bin)/python -m benchmarks.make_model

faults: $(VENV)/ready
	KARAOKE_FAULT_ROUNDS=200 $(bin)/pytest tests/faults

# KARAOKE_FAULT_SEED=… has other things happen
soak: $(VENV)/ready
	KARAOKE_SOAK_MINUTES=$${MINUTES:-20} KARAOKE_SOAK_REPORT=docs/soak.md \
	    $(bin)/pytest tests/faults/test_soak.py

# SEED=… repeats a run. What is found is printed with the way to repeat it, and belongs into
# tests/corpus
fuzz: $(VENV)/ready
	seed=$${SEED:-$$(date +%s)}; echo "SEED=$$seed"; KARAOKE_FUZZ=$${EXAMPLES:-1000} \
	    $(tests) --dist load --hypothesis-seed=$$seed --timeout=1800 tests/fuzz

# What is installed, against the vulnerabilities that PyPI knows; needs PyPI itself, not a mirror
audit: $(VENV)/ready
	@# requests 2.31.0 has known ones: an index that tells of none, as a mirror does, says nothing
	@$(bin)/python -c "import requests, sys; \
	    index = requests.get('https://pypi.org/pypi/requests/2.31.0/json', timeout=20); \
	    sys.exit(not index.json()['vulnerabilities'])" 2>/dev/null || { \
	    echo "Nothing was looked at: PyPI can't be reached from here, or what answers in its place" \
	    "has no list of vulnerabilities, as mirrors have none. Run make audit on a machine that" \
	    "reaches https://pypi.org itself (HTTPS_PROXY and REQUESTS_CA_BUNDLE are heeded); or look" \
	    "up what constraints.txt has at https://osv.dev/list?ecosystem=PyPI" >&2; exit 1; }
	$(bin)/pip install --quiet 'pip-audit>=2.9'
	$(bin)/pip-audit --strict --no-deps --disable-pip --progress-spinner=off -r constraints.txt

bench: $(VENV)/ready
	$(bin)/python -m benchmarks.figures $(if $(FULL),--full)
	for name in log_overhead synth_speed singing; do \
	    $(bin)/python -m benchmarks.$$name || exit 1; done

clean:
	rm -rf $(DEMO) build dist .pytest_cache .mypy_cache .ruff_cache
