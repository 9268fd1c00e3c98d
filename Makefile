# A fresh machine needs Python 3.11+ and make, nothing else:
#   make demo     the main job, watched in the terminal
#   make docs     the documentation as a site, in build/site
#   make console  build the pages of the console from console/ into the package
#   make recording
#                 record the terminal of the README again: docs/images/terminal.svg
#   make fmt      format the code, and fix what ruff can fix
#   make check    ruff, the language of texts and names, mypy strict, import contracts, dependencies, the lock
#   make test     the tests               (make test ARGS="tests/graphs -k factory")
#   make test-newest, make test-lowest
#                 some of them without the lock, with the newest or lowest versions that pyproject.toml allows
#   make test-later
#                 the same as in a later month: the newest versions, and newer ones of LangGraph and LangChain
#   make fuzz     fuzz the wire and the files that are read  (make fuzz SECONDS=60 SEED=7)
#   make storm    a long storm of harm over a cluster  (make storm SECONDS=1800 SEED=7)
#   make bench    the benchmarks          (make bench ARGS="--help")
#   make lock     after a change of dependencies in pyproject.toml: lock what is new
#   make upgrade  move all dependencies to their newest allowed versions, in one commit
#   make audit    ask whether a locked package has a known vulnerability
#   make release  dist/: wheel, sdist, software bill of materials, checksums; nothing is uploaded
# The first call makes .venv, with uv where it is installed and with pip otherwise; later calls find it ready.
# Another Python: make demo PYTHON=python3.13

# These are set on the command line of make. An environment's variables of the same names are meant for other programs.
VENV := .venv
ARGS :=
# Processes that share the tests: 0 for those of a named file or folder, where starting them would take longer.
WORKERS = $(if $(findstring tests/,$(ARGS)),0,auto)
# Unless one is named, the Python that the environment was made with stays.
PYTHON := $(or $(shell cat $(VENV)/.python 2>/dev/null),python3)

# A shell's PYTHONPATH, PYTHONHOME, PYTHONOPTIMIZE, PYTHONWARNINGS and the like are meant for other programs, and would
# change what the demo and the tests do; one that is named on the command line of make holds.
FOREIGN := $(foreach name,$(filter-out PYTHON,$(filter PYTHON%,$(.VARIABLES))),$(if $(filter environment,$(origin $(name))),$(name)))
unexport $(FOREIGN)
# Files are UTF-8 in every locale.
export PYTHONUTF8 := 1

BIN := $(VENV)/bin
SETUP := .ci/venv
LOCK := pyproject.toml uv.lock $(wildcard requirements/*.txt) $(SETUP) .ci/install.py .ci/lock.py

ANEW := $(shell [ "$$(cat $(VENV)/.python 2>/dev/null)" = "$(PYTHON)" ] || echo another-python)

.PHONY: help demo docs console recording fmt test test-newest test-lowest test-later check lock upgrade audit release fuzz storm bench clean another-python
.DELETE_ON_ERROR:

help:
	@sed -n 's/^#   //p' Makefile

demo: $(VENV)/.ready-core
	@$(BIN)/runstead demo $(ARGS)

# Suites that need no server, node or other framework, and so a smaller environment.
LIGHT := tests/runtime tests/simulation tests/resources tests/testing
NAMED := $(filter tests/%,$(ARGS))
READY := $(if $(and $(NAMED),$(if $(filter-out $(LIGHT) $(addsuffix /%,$(LIGHT)),$(NAMED)),,light)),dev,test)

test: $(VENV)/.ready-$(READY)
	@$(BIN)/python $(PYTEST) $(ARGS)

# What libraries have a part in: the wire, its clients, how graphs run, storage, the command line.
SUITES := tests/wire tests/clients tests/sdk tests/graphs tests/runtime tests/gateway tests/infra tests/cli
PYTEST := -E -X utf8 -m pytest -n $(WORKERS) --dist loadfile --progress
# ARGS name other tests in place of these, or add options.
some = $(if $(findstring tests/,$(ARGS)),,$(1)) $(ARGS)

test-newest:
	@$(SETUP) "$(PYTHON)" $(VENV)-newest newest
	@$(VENV)-newest/bin/python $(PYTEST) $(call some,$(SUITES))

# Without tests/sdk: its tests are of methods that the newest SDK has.
test-lowest:
	@$(SETUP) "$(PYTHON)" $(VENV)-lowest lowest
	@$(VENV)-lowest/bin/python $(PYTEST) $(call some,$(filter-out tests/sdk,$(SUITES)))

test-later:
	@$(SETUP) "$(PYTHON)" $(VENV)-later newest
	@$(VENV)-later/bin/python -I .ci/later_month.py
	@$(VENV)-later/bin/python $(PYTEST) $(call some,$(SUITES))

docs: $(VENV)/.ready-docs
	@$(BIN)/python -I .ci/docs.py

console: $(VENV)/.ready-test
	@$(BIN)/python -m tests.console.build

recording: $(VENV)/.ready-dev
	@$(BIN)/python -I .ci/recording.py

fmt: $(VENV)/.ready-dev
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format --quiet .

check: $(VENV)/.ready-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -I .ci/language.py
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/deptry src
	$(BIN)/python .ci/lock.py check --with-uv

lock:
	@"$(PYTHON)" -I .ci/lock.py update

upgrade:
	@"$(PYTHON)" -I .ci/lock.py upgrade

audit:
	@.ci/release "$(PYTHON)" audit

release:
	@.ci/release "$(PYTHON)" build

fuzz: $(VENV)/.ready-dev
	@nice $(BIN)/python -m tests.fuzz $(if $(SECONDS),--seconds $(SECONDS)) $(if $(SEED),--seed $(SEED)) $(ARGS)

storm: $(VENV)/.ready-test
	@RUNSTEAD_LONG=1 nice $(BIN)/python -m tests.cluster.storm $(if $(SECONDS),--seconds $(SECONDS)) $(if $(SEED),--seed $(SEED)) $(ARGS)

bench: $(VENV)/.ready-test
	@$(BIN)/python -m benchmarks $(ARGS)

clean:
	rm -rf $(VENV) $(VENV)-* .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis

# The stamps are as old as what they were made from: a changed lock installs anew, and so does another Python.
$(VENV)/.ready-core: $(LOCK) $(ANEW)
	@$(SETUP) "$(PYTHON)" "$(VENV)" core
	@touch $@

$(VENV)/.ready-dev: $(LOCK) $(ANEW)
	@$(SETUP) "$(PYTHON)" "$(VENV)" dev
	@touch $@ $(VENV)/.ready-core

$(VENV)/.ready-docs: $(LOCK) $(ANEW)
	@$(SETUP) "$(PYTHON)" "$(VENV)" docs
	@touch $@ $(VENV)/.ready-core

$(VENV)/.ready-test: $(LOCK) tests/clients/package-lock.json console/package-lock.json $(ANEW)
	@$(SETUP) "$(PYTHON)" "$(VENV)" test
	@touch $@ $(VENV)/.ready-core $(VENV)/.ready-dev $(VENV)/.ready-docs
