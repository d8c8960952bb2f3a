# The two commands: `make book` and `make test`. `make help` lists the others.
#
# Everything runs in .venv, which is made once from requirements.lock and again when that file
# changes. Works with GNU make 3.81 (macOS). Another interpreter: make distclean book PYTHON=python3.12

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: book pdf test fuzz run lab edit bench study lock lock-equations lock-figure lock-solution lock-table lock-numbers clean distclean help lint code notebooks pages check checked validate mutate try release

# The first interpreter that is new enough; python3 when none is, so that the message below names it.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
    "$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$p" && exit; \
  done; echo python3)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Scripts of an environment name its folder, and its Python is a link to the one that it was made with: if the
# folder was moved or copied, or that Python is gone or another, it is made again.
$(shell { grep -qxF "$$(pwd -P)" $(READY) && $(BIN)/python -c 'import pip'; } >/dev/null 2>&1 || { \
  test ! -e $(READY) || echo "$(VENV) was moved, or its Python is gone or broken: the environment is made again" >&2; \
  rm -f $(READY) $(BIN)/pip; })

# One thread per process: sums are taken in the same order on every run.
export OPENBLAS_NUM_THREADS := 1
export OMP_NUM_THREADS := 1
export MKL_NUM_THREADS := 1
export VECLIB_MAXIMUM_THREADS := 1
# Nothing of the user's own set-up enters a figure or a cell.
export IPYTHONDIR := $(CURDIR)/$(VENV)/ipython
export MPLCONFIGDIR := $(CURDIR)/$(VENV)/matplotlib
export PYTHONNOUSERSITE := 1
export PYDEVD_DISABLE_FILE_VALIDATION := 1
export PYTENSOR_FLAGS := blas__ldflags=
export PYTHONWARNINGS := ignore::FutureWarning:arviz
unexport PYTHONPATH PYTHONHOME

book: $(READY)  ## Build the book as HTML, warnings are errors; prints the page to open
	@$(BIN)/python chapters/_tools/build.py

pdf: $(READY)  ## Build the book on paper by LaTeX, one PDF; what it needs: CONTRIBUTING.md
	@$(BIN)/python -m chapters._tools.paper

check: $(READY)  ## Check what you changed, in a minute: style, types, its fast tests; says what was not run
	@$(BIN)/python -m tests.check

# What each part of `make test` and `make validate` report, for `make checked`.
REPORTS := _build/run

# All parts run even if one fails (-k); the exit code tells.
test: $(READY)  ## Check everything: style, lmmlib, every notebook, the book in a browser
	@$(MAKE) -k --no-print-directory lint code notebooks pages
	@echo "all checks passed"

fuzz: $(READY)  ## Try 20,000 random formulas, most of them broken (about half an hour)
	HYPOTHESIS_PROFILE=fuzz $(BIN)/pytest tests/property/test_formulas.py -n 2

validate: $(READY)  ## Plant faults one by one: does a check notice each? (about 10 minutes) Some: FAULTS=figure
	@$(BIN)/python -m tests.validate.plant $(FAULTS)
	@$(if $(FAULTS),true,$(BIN)/python -m tests.validate.mutants --again)

mutate: $(READY)  ## Change lmmlib line by line: does a test notice? All night; ROOM=equations, or a few: SAMPLE=60 SEED=1
	@$(BIN)/python -m tests.validate.mutants $(ROOM) $(if $(SAMPLE),--sample $(SAMPLE)) $(if $(SEED),--seed $(SEED))

checked: $(READY)  ## Store what the last `make test` found (and `make validate`), for the page "How this book is checked"
	@$(BIN)/python chapters/_tools/checked.py

try: $(READY)  ## A short set of tests with WITH=lowest, latest, python3.12, wheels, threads, kernels, locales, user, compiler
	@$(BIN)/python -m tests.versions $(WITH) $(TESTS)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

code: $(READY)
	$(BIN)/pytest tests/unit tests/project tests/statistical tests/oracle tests/property tests/equations tests/problems tests/notebooks tests/validate -n 2 --junitxml=$(REPORTS)/code.xml

notebooks: $(READY)
	$(BIN)/pytest --nbval --nbval-current-env chapters -n 2 --dist loadscope --junitxml=$(REPORTS)/notebooks.xml

pages: book
	$(BIN)/pytest tests/book --junitxml=$(REPORTS)/pages.xml

run: $(READY)  ## Execute the chapters in place; one of them with CHAPTER=03
	$(BIN)/python chapters/_tools/execute.py $(CHAPTER)

release: book  ## Write wheel, sdist, site, PDF, notebooks and data into dist, with checksums, and try each of them
	@if grep -q '^pdf:' Makefile && command -v xelatex >/dev/null 2>&1; then \
	  SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) $(MAKE) --no-print-directory pdf; fi
	@$(BIN)/python -m chapters._tools.release

# The settings in chapters/_tools/jupyter switch off the plugin that asks on the first start whether it may fetch news,
# and for the pages of the book, which are plain, jupyterlab-myst.
LAB = $(BIN)/jupyter lab $(if $(filter 0,$(shell id -u)),--allow-root) \
  --LabApp.check_for_updates_class=jupyterlab.handlers.announcements.NeverCheckForUpdate

lab: $(READY)  ## Open the pages of the book in JupyterLab: copies in my-notebooks, yours to change
	@test -f _build/html/index.html || $(MAKE) --no-print-directory book
	@$(BIN)/python -m chapters._tools.lab
	JUPYTER_CONFIG_PATH=chapters/_tools/jupyter/lab $(LAB) --notebook-dir=my-notebooks \
	  --ServerApp.extra_static_paths="['$(CURDIR)/_build/html']"

edit: $(READY)  ## Open the sources of the chapters in JupyterLab, for authors
	JUPYTER_CONFIG_PATH=chapters/_tools/jupyter/edit $(LAB) --notebook-dir=chapters

bench: $(READY)  ## Time lmmlib beside statsmodels, and lme4 where R has it (about ten minutes)
	@$(BIN)/python -m benchmarks.run
	@$(BIN)/python -m benchmarks.gibbs
	@$(BIN)/python -m benchmarks.cloning
	@$(BIN)/python -m benchmarks.glmm
	@$(BIN)/python -m benchmarks.several
	@$(BIN)/python -m benchmarks.residual
	@$(BIN)/python -m benchmarks.questions
	@$(BIN)/python -m benchmarks.packages

study: $(READY)  ## Run the simulation studies again (about half an hour), rewrites their tables
	@$(BIN)/python -m studies.coverage
	@$(BIN)/python -m studies.small_samples
	@$(BIN)/python -m studies.free_covariance
	@$(BIN)/python -m studies.validation

lock:  ## Resolve the dependencies again: rewrites requirements.lock and environment.yml
	@$(PYTHON) -m chapters._tools.environment --lock

lock-equations: $(READY)  ## Renew the line of a changed equation: LABEL=icc, if new also TWIN=tests/...::test_...
	@$(BIN)/python chapters/_tools/equations.py "$(LABEL)" --twin "$(TWIN)" --reason "$(REASON)"

lock-solution: $(READY)  ## Renew the line of a changed solution: SOLUTION=ex-..., or SOLUTION=new
	@$(BIN)/python chapters/_tools/answers.py "$(SOLUTION)"

lock-table: $(READY)  ## Renew the line of a changed table: TABLE=03-gls/cell-012, or TABLE=new
	@$(BIN)/python chapters/_tools/tables.py "$(TABLE)"

lock-figure: $(READY)  ## Renew the line of a changed figure or caption: FIGURE=fig-..., or FIGURE=new
	@$(BIN)/python chapters/_tools/pictures.py "$(FIGURE)"

lock-numbers: $(READY)  ## Bind the decimals in the text of a page to its outputs: PAGE=03-gls
	@$(BIN)/python chapters/_tools/quoted.py "$(PAGE)" --reason "$(REASON)"

clean:  ## Remove the built book and all caches
	rm -rf _build .pytest_cache .ruff_cache .mypy_cache .hypothesis dist
	find . -name .venv -prune -o \( -name __pycache__ -o -name .ipynb_checkpoints \) -type d -print | xargs rm -rf

distclean: clean  ## The same, and remove the environment .venv too
	rm -rf $(VENV)

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' Makefile

$(READY): requirements.lock
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "This book needs Python 3.11 or newer; '$(PYTHON)' is $$("$(PYTHON)" --version 2>&1 || true)."; \
	  echo "Install one (Debian and Ubuntu: apt install python3 python3-venv; macOS: brew install python),"; \
	  echo "or name yours: make book PYTHON=python3.12"; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "'$(PYTHON)' cannot make virtual environments: its module venv or ensurepip is missing."; \
	  echo "Debian and Ubuntu: apt install python3-venv"; exit 1; }
	@echo "making the environment in $(VENV) from requirements.lock (once; about a minute) ..."
	@$(BIN)/pip --version >/dev/null 2>&1 || "$(PYTHON)" -m venv --clear $(VENV)
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --only-binary :all: --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --no-index --no-build-isolation --editable .
	@pwd -P >$(READY)
