# The two commands of a newcomer are ./pacha and `make test`; CONTRIBUTING.md tells the rest.

PREFIX  = /usr
DESTDIR =
PYTEST_ARGS =

PYTHON  = .venv/bin/python

.PHONY: test lint format bench soak install uninstall changelog clean dev system
.DEFAULT_GOAL = test

# Made again when pyproject.toml changes; the script looks at the contents, so this is quick.
dev:
	@tools/environment checkout dev

system:
	@tools/system_packages

test: dev system
	$(PYTHON) -m pytest -n 4 --dist loadgroup -m "not soak and not alone" $(PYTEST_ARGS)
	$(PYTHON) -m pytest -n 2 -m "alone and not soak" $(PYTEST_ARGS) || test $$? -eq 5 # none of them was asked for

soak: dev system
	$(PYTHON) -m pytest -m soak --timeout 0 $(PYTEST_ARGS)

bench: dev system
	$(PYTHON) bench/run.py $(BENCH_ARGS)

lint: dev
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	PYTHONPATH=src .venv/bin/lint-imports --no-cache
	$(PYTHON) tools/check_live_trees.py
	$(PYTHON) tools/check_sizes.py

format: dev
	.venv/bin/ruff format .
	.venv/bin/ruff check --fix .

changelog: dev
	.venv/bin/towncrier build --yes

# PREFIX and DESTDIR as everywhere: `make install PREFIX=/usr/local`, `make install DESTDIR=/tmp/root`.
install:
	PREFIX='$(PREFIX)' DESTDIR='$(DESTDIR)' tools/install

uninstall:
	PREFIX='$(PREFIX)' DESTDIR='$(DESTDIR)' tools/install remove

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
