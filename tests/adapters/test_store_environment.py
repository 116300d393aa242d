"""Nothing that a person has set up for their own Mercurial, Python or editor changes a store."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.adapters.stores import commit, made

from pacha.adapters.hg.store import Store

SCRIPT = """
import os, sys
from pacha.adapters.hg.store import Store
from tests.adapters.stores import commit, content
store = Store(os.fsencode(sys.argv[1]))
store.create()
commit(store, {b"files/etc/a": b"a\\r\\n", b"files/etc/b": b"b", b"meta/%meta": "Grüße".encode()}, 1)
commit(store, {b"files/etc/a": b"2", b"files/etc/b": None}, 2, message="é \\u2028")
assert content(store, b"files/etc/a", 0) == b"a\\r\\n"
assert store.censor(b"files/etc/b") == 1
assert store.verify() == []
print(store.tip())
store.close()
"""

HOSTILE = """
[ui]
username = somebody else
editor = touch {mark}.editor
interactive = yes
debug = yes
tweakdefaults = yes
[hooks]
pre-serve = touch {mark}.pre-serve; false
pretxncommit = touch {mark}.pretxncommit; false
pretxnopen = touch {mark}.pretxnopen; false
pretxnclose = touch {mark}.pretxnclose; false
commit = touch {mark}.commit
txnclose = touch {mark}.txnclose
[extensions]
hostile = {folder}/hostile.py
eol =
largefiles =
share =
[alias]
serve = !touch {mark}.alias
[phases]
new-commit = secret
[format]
usestore = no
use-share-safe = no
[encode]
** = tr a-z A-Z
[defaults]
serve = --debug
[trusted]
users = *
[worker]
enabled = yes
"""


def kept() -> dict[str, str]:
    """What any process needs, with the tests' own folder for the script's imports."""
    folder = str(Path(__file__).resolve().parents[2])
    paths = os.pathsep.join(filter(None, (folder, os.environ.get("PYTHONPATH"))))
    return {"PATH": os.environ["PATH"], "PYTHONPATH": paths}


def run(place: Path, environment: dict[str, str]) -> str:
    """Make a store in a process with this environment; its tip."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(place)], env=environment, capture_output=True, text=True, cwd=place.parent,
        stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def hostile(tmp_path: Path) -> dict[str, str]:
    """An environment that sets everything a person can set, each to do harm and leave a mark."""
    home = tmp_path / "home"
    (home / ".config" / "hg").mkdir(parents=True)
    mark = tmp_path / "mark"
    text = HOSTILE.format(mark=mark, folder=home)
    for path in (home / ".hgrc", home / ".config" / "hg" / "hgrc", home / "rc"):
        path.write_text(text)
    (home / "hostile.py").write_text(
        f"open({str(mark) + '.extension'!r}, 'w').close()\nraise SystemExit(1)\n"
    )
    (home / "hgdemandimport.py").write_text(f"open({str(mark) + '.import'!r}, 'w').close()\n")
    (home / "sitecustomize.py").write_text("")
    bad = {
        "HOME": home, "XDG_CONFIG_HOME": home / ".config", "HGRCPATH": home / "rc", "HGEDITOR": f"touch {mark}.hgeditor",
        "EDITOR": f"touch {mark}.editor", "VISUAL": f"touch {mark}.visual", "HGUSER": "somebody else", "EMAIL": "x@y",
        "HGENCODING": "ascii", "HGENCODINGMODE": "replace", "HGPLAINEXCEPT": "alias,i18n", "HGMERGE": "false", "HG": "/bin/false",
        "HGDEMANDIMPORT": "disable", "HGMODULEPOLICY": "py", "LANG": "tr_TR.ISO-8859-9", "LC_ALL": "C", "LANGUAGE": "de",
        "TZ": "Pacific/Apia", "PYTHONWARNINGS": "error", "PYTHONSTARTUP": home / "hostile.py", "PYTHONIOENCODING": "utf-16",
        "CHGDEBUG": "1", "HGTEST": "1", "HGPROF": "ls", "PYTHONOPTIMIZE": "",
    }  # fmt: skip
    everything = {**kept(), **{key: str(value) for key, value in bad.items()}}
    everything["PYTHONPATH"] += os.pathsep + str(home)
    del everything["PYTHONWARNINGS"], everything["PYTHONIOENCODING"]
    return everything


def layout(store: Path) -> list[tuple[str, bytes]]:
    """The store's files; the lines of one are sorted, as Mercurial has them in no order."""
    return [
        (str(path.relative_to(store)), b"".join(sorted(path.read_bytes().splitlines(keepends=True))))
        for path in sorted(store.rglob("*"))
        if path.is_file() and "cache" not in path.parts and not path.name.startswith("undo")
    ]


def test_a_hostile_environment_changes_not_one_byte(tmp_path: Path, hostile: dict[str, str]) -> None:
    (tmp_path / "quiet").mkdir()
    plain = run(tmp_path / "plain", {**kept(), "HOME": str(tmp_path / "quiet")})
    other = run(tmp_path / "other", hostile)
    assert other == plain
    assert layout(tmp_path / "other") == layout(tmp_path / "plain")
    assert sorted(path.name for path in tmp_path.glob("mark*")) == []


def test_the_environment_does_harm_to_a_plain_mercurial(tmp_path: Path, hostile: dict[str, str]) -> None:
    command = [sys.executable, "-m", "mercurial", "init", str(tmp_path / "repo")]
    subprocess.run(command, env=hostile, capture_output=True, check=False)
    assert list(tmp_path.glob("mark*")) != []


def test_the_child_gets_no_more_than_it_needs(tmp_path: Path, hostile: dict[str, str]) -> None:
    script = (
        "import os, sys; from tests.adapters.stores import made, mercurial_child; store = made(__import__('pathlib').Path(sys.argv[1]));"
        "sys.stdout.buffer.write(open(f'/proc/{mercurial_child()}/environ', 'rb').read()); store.close()"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "store")], env=hostile, capture_output=True, check=True
    )
    found = dict(item.split(b"=", 1) for item in done.stdout.split(b"\0") if item)
    assert found.keys() <= {
        b"PATH",
        b"HOME",
        b"TMPDIR",
        b"TZ",
        b"HGRCPATH",
        b"HGPLAIN",
        b"HGRCSKIPREPO",
        b"HGENCODING",
        b"LC_ALL",
    }
    assert (found[b"HGRCPATH"], found[b"HGPLAIN"], found[b"HGENCODING"]) == (b"", b"1", b"UTF-8")


def test_a_configuration_inside_the_store_changes_nothing(tmp_path: Path) -> None:
    store = made(tmp_path / "store")
    commit(store, {b"files/a": b"1"})
    store.close()
    mark = tmp_path / "mark"
    for name in ("hgrc", "hgrc-not-shared"):
        (tmp_path / "store" / ".hg" / name).write_text(f"[hooks]\npretxnclose = touch {mark}; false\n")
    again = Store(os.fsencode(tmp_path / "store"))
    commit(again, {b"files/a": b"2"}, 2)
    again.close()
    assert not mark.exists()
