"""A checkout for the tests of launcher and installation, around a package that tells how it was called."""

import re
import shutil
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]

MAIN = """\
import os, sys

def main():
    for argument in sys.argv:
        print(ascii(os.fsencode(argument)))
    print(os.environ.get("PYTHONDONTWRITEBYTECODE", "unset"))
    import tomlkit
    return 7
"""
COMMANDS = """\
import argparse

VERBS = {"watch": "track paths - and capture at once", "host": "keep [hosts]: 'all' of them"}

EPILOG = "Examples:\\n\\n  %(prog)s one\\n  .two"

def build_parser(verb):
    parser = argparse.ArgumentParser(prog=f"pacha {verb}", description=VERBS[verb], epilog=EPILOG)
    parser.add_argument("--skip", choices=["users", "files"], help="it's 100%% [left] out")
    parser.add_argument("--hidden", help=argparse.SUPPRESS)
    if verb == "watch":
        parser.add_argument("paths", metavar="PATH", nargs="+", help="what to track")
    else:
        actions = parser.add_subparsers(dest="action")
        actions.add_parser("add", help="a host more").add_argument("--key", metavar="FILE")
    return parser
"""


@pytest.fixture(scope="module")
def made_checkout(tmp_path_factory):
    """A copy of the project's own files, with one small dependency and no environment yet."""
    root = tmp_path_factory.mktemp("made") / "a checkout"
    (root / "src/pacha/cli").mkdir(parents=True)
    for name in ("pacha", "Makefile", "LICENSE"):
        shutil.copy(CHECKOUT / name, root / name)
    for name in ("tools", "packaging"):
        shutil.copytree(CHECKOUT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    project = (CHECKOUT / "pyproject.toml").read_text()
    project = re.sub(r"(?ms)^dependencies = \[.*?^\]", 'dependencies = ["tomlkit"]', project)
    (root / "pyproject.toml").write_text(project)
    (root / "README.md").write_text("# Pacha\n")
    (root / "src/pacha/__init__.py").write_text('__version__ = "0.1.0"\n')
    (root / "src/pacha/__main__.py").write_text(MAIN)
    (root / "src/pacha/cli/__init__.py").write_text("")
    (root / "src/pacha/cli/main.py").write_text(COMMANDS)
    return root
