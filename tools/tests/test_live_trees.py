"""The rule that keeps path-based calls out of most modules, tried on what it must and must not find."""

import ast

import pytest

from check_live_trees import breaches


def found(code, name="ops/example.py"):
    return breaches(name, ast.parse(code))


@pytest.mark.parametrize(
    "code",
    [
        "open('x')",
        "import os\nos.open('x', 0)",
        "import os as o\no.rename('a', 'b')",
        "from os import unlink as gone\ngone('x')",
        "import os\nremove = os.unlink",
        "import os\nos.open('x', 0, dir_fd=3)",
        "import io\nio.open('x')",
        "import shutil\nshutil.rmtree('x')",
        "from shutil import copy\ncopy('a', 'b')",
        "import tempfile\ntempfile.mkdtemp()",
        "import pathlib\npathlib.Path('x').write_text('')",
        "from pathlib import Path\nPath('a').rename('b')",
        "def f(path):\n    path.write_bytes(b'')",
        "def f():\n    from os import chmod\n    chmod('x', 0)",
    ],
)
def test_a_path_based_call_is_found(code):
    assert len(found(code)) == 1


@pytest.mark.parametrize(
    "code",
    [
        "'a'.replace('a', 'b')",
        "import dataclasses\ndataclasses.replace(x, a=1)",
        "import os\nos.close(3)\nos.fsync(3)\nos.environ['open']",
        "import os\nos.path.join('a', 'b')",
        "tree.open(b'x')\ntree.unlink(b'x')",
        "[].remove(1)",
    ],
)
def test_other_calls_of_the_same_name_are_not(code):
    assert found(code) == []


@pytest.mark.parametrize("name", ["adapters/files/write.py", "adapters/lock.py", "adapters/hg/child.py"])
def test_the_modules_that_own_their_files_may(name):
    assert found("import os\nos.open('x', 0)", name) == []


def test_the_list_names_whole_files():
    assert found("open('x')", "adapters/lock.py.d/x.py") != []
