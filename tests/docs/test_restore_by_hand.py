"""The page "Restore by hand": its own commands bring an awkward tree back, by the oracle's word."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import needs
from tests.agekeys import age_key, age_tool, ssh_key
from tests.command import Pacha
from tests.docs.pages import DOCS, fenced
from tests.oracle import compare, wipe
from tests.plainhg import StoreCopy
from tests.trees import build

PAGE = (DOCS / "how-to" / "restore-by-hand.md").read_text()

pytestmark = [needs.root, needs.tools]


@pytest.fixture
def live(arena: Path) -> Path:
    """The awkward tree, but for paths that are as long as a path can be: below another folder they are longer."""
    tree = arena / "live"
    build(tree, flags=True)
    shutil.rmtree(tree / "deep")
    # A fork for each command makes a shell slow: a third of the names is enough here.
    for number, path in enumerate(sorted((tree / "names").iterdir())):
        if number % 3:
            path.unlink()
    # Made again by their programs, as the page says.
    for path in tree.rglob("*"):
        if path.is_socket():
            path.unlink()
    # What the page's examples name.
    (tree / "hosts").write_text("127.0.0.1 localhost\n")
    return tree


def run(script: str, home: Path, live: Path, allowed: tuple[int, ...] = (0,)) -> str:
    """Run commands of the page, its places replaced by those of the test."""
    tools = home / "bin"
    if not (tools / "hg").exists():
        tools.mkdir(exist_ok=True)
        (tools / "hg").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m mercurial "$@"\n')
        (tools / "hg").chmod(0o755)
    script = re.sub(r"/root\b", str(home), script).replace("/var/lib/pacha", str(home / "state"))
    script = re.sub(r"(?<![\w.])(files|meta|)/etc\b", rf"\1{live}", script)
    environment = {"PATH": f"{tools}:{os.environ['PATH']}", "HOME": str(home), "LC_ALL": "C.UTF-8"}
    done = subprocess.run(
        ["bash", "-e", "-c", script], cwd=home, env=environment, stdin=subprocess.DEVNULL, capture_output=True
    )
    said = (done.stdout + done.stderr).decode(errors="replace")
    assert done.returncode in allowed, said
    return said


def test_the_page_restores_everything(live: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    pacha = Pacha.at(home / "pacha")
    shutil.move(pacha.state, home / "state")
    pacha = Pacha(home / "state", pacha.config, pacha.home)
    assert pacha.ok("watch", live)["skipped"] == []

    copy, *looks, last = fenced(PAGE, "sh")
    (script,) = fenced(PAGE, "bash")
    run(copy, home, live)
    said = [run(f"{copy.splitlines()[1]}\n{look}", home, live) for look in looks]
    assert any("127.0.0.1 localhost" in one and "sha256=" in one for one in said)

    # The script itself stays as it is on the page.
    (home / "restore.sh").write_text(script)
    lines = last.splitlines()
    assert lines[1].startswith("bash restore.sh ")
    run("\n".join(lines[:2]), home, live)
    restored = home / "restored" / str(live).lstrip("/")
    assert compare(live, restored) == []
    assert run(lines[-1].replace("restored/etc/", f"restored{live}/").replace("/etc", str(live)), home, live)
    wipe(restored)  # pytest could not: some of it is immutable


def test_what_cannot_be_restored_is_named(pacha: Pacha, arena: Path, tmp_path: Path) -> None:
    live = arena / "live"
    live.mkdir()
    (live / "secret").write_text("hunter2\n")
    (live / "kept").write_text("kept\n")
    with open(live / "large", "wb") as file:
        file.truncate(10_000_001)
    pacha.ok("watch", live)
    pacha.ok("forget", live / "secret", "-y")
    home = tmp_path / "home"
    (home / "out").mkdir(parents=True)
    (script,) = fenced(PAGE, "bash")
    (home / "restore.sh").write_text(script)
    said = run(f"bash restore.sh {pacha.store} tip {live} out", home, live, allowed=(1,))
    assert "forgotten" in said
    assert "too large" in said
    restored = home / "out" / str(live).lstrip("/")
    assert sorted(os.listdir(restored)) == ["kept"]
    one = home / "one"
    one.mkdir()
    run(f"bash restore.sh {pacha.store} tip {live}/kept one", home, live)
    assert [path.name for path in one.rglob("*") if path.is_file()] == ["kept"]


def test_secrets_come_back_with_a_key(pacha: Pacha, arena: Path, tmp_path: Path) -> None:
    live, home = arena / "live", tmp_path / "home"
    live.mkdir()
    (live / "shadow").write_text("hunter2\n")
    key, other = age_key(tmp_path / "key.txt"), ssh_key(tmp_path / "id_ops")
    keys = json.dumps([key.public, other.public])
    pacha.config.write_text(f'[secrets]\npaths = ["{live}/shadow*"]\nrecipients = {keys}\n')
    pacha.ok("watch", live)
    (home / "out").mkdir(parents=True)
    age_tool(home / "bin")
    shutil.copytree(pacha.store, home / "store")
    shutil.copy(key.file, home / "recovery-key.txt")
    (look,) = [text for text in fenced(PAGE, "text") if "age -d" in text]
    said = run(look, home, live)
    assert "hunter2" in said and key.public in said and "own age1" in said
    (script,) = fenced(PAGE, "bash")
    (home / "restore.sh").write_text(script)
    refused = run(f"bash restore.sh {home}/store tip {live} out", home, live, allowed=(1,))
    assert "needs IDENTITY" in refused
    for file in (key.file, other.file):
        run(f"IDENTITY={file} bash restore.sh {home}/store tip {live} out", home, live)
        restored = home / "out" / str(live).lstrip("/") / "shadow"
        assert restored.read_text() == "hunter2\n"
        shutil.rmtree(home / "out" / str(live).split("/")[1])


def test_what_plain_mercurial_makes_of_forgotten_contents(pacha: Pacha, arena: Path, tmp_path: Path) -> None:
    live = arena / "live"
    live.mkdir()
    (live / "secret").write_text("hunter2\n")
    pacha.ok("watch", live)
    pacha.ok("forget", live / "secret", "-y")
    assert pacha.run("verify").code == 0
    copy = StoreCopy(pacha.store, tmp_path / "copy")
    assert f"files{live}/secret@0: censored file data".encode() in copy.hg("verify", allowed=(1,))
    ignoring = ("--config", "censor.policy=ignore")
    name, bare = f"path:files{live}/secret", copy.path.parent / "bare"
    assert b"censored node" in copy.hg("cat", "-r", "0", name, allowed=(255,))
    assert copy.hg(*ignoring, "cat", "-r", "0", name) == b""
    copy.hg("clone", "-q", "-U", str(copy.path), str(bare))
    assert b"censored node" in copy.hg("clone", str(copy.path), str(tmp_path / "no"), allowed=(255,))
    copy.hg(*ignoring, "clone", "-q", str(copy.path), str(tmp_path / "whole"))
    assert (tmp_path / "whole" / f"files{live}" / "secret").read_bytes() == b""
