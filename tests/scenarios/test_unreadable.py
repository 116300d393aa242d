"""A tree that its watcher may read only in part: the rest is captured, the last version kept, the gaps told."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.command import Pacha

from tests import needs, unprivileged

pytestmark = needs.root


@pytest.fixture
def user(open_arena: Path) -> Pacha:
    """A Pacha of an ordinary user."""
    python = unprivileged.interpreter(open_arena)
    if python is None:
        pytest.skip("no Python of this version that other users may run")
    return Pacha.at(open_arena / "pacha", interpreter=python, user=unprivileged.USER)


@pytest.fixture
def live(open_arena: Path, user: Pacha) -> Path:
    tree = open_arena / "live"
    (tree / "closed").mkdir(parents=True)
    (tree / "closed" / "inside").write_text("inside\n")
    (tree / "secret").write_text("secret\n")
    (tree / "plain").write_text("plain\n")
    for entry in (tree, *tree.rglob("*")):
        os.chown(entry, unprivileged.USER, unprivileged.USER)
    assert user.ok("watch", tree)["skipped"] == []
    return tree


def close(live: Path) -> None:
    """Take the user's right to read away, and change what can't be seen any more."""
    for name, mode in (("closed", 0o700), ("secret", 0o600)):
        os.chown(live / name, 0, 0)
        os.chmod(live / name, mode)
    (live / "secret").write_text("changed unseen\n")
    (live / "plain").write_text("plain again\n")


def test_the_rest_is_captured_and_the_gaps_told(user: Pacha, live: Path) -> None:
    close(live)
    gaps = {str(live / "closed"), str(live / "secret")}
    status = user.run("status", "--json").json
    assert [change["path"] for change in status["pending"]] == [str(live / "plain")]
    assert {entry["path"] for entry in status["skipped"]} == gaps
    result = user.run("capture", "--json")
    assert result.code == 3, result
    assert [change["path"] for change in result.json["changed"]] == [str(live / "plain")]
    assert {entry["path"] for entry in result.json["skipped"]} == gaps
    assert all(entry["reason"] for entry in result.json["skipped"])
    assert user.run("capture").code == 3
    assert user.run("status", "--check").code == 4


def test_the_last_version_is_kept(user: Pacha, live: Path) -> None:
    close(live)
    user.run("capture")
    assert user.run("cat", live / "secret").out == "secret\n"
    assert user.run("cat", live / "closed" / "inside").out == "inside\n"


def test_what_becomes_readable_again_is_captured(user: Pacha, live: Path) -> None:
    close(live)
    user.run("capture")
    os.chmod(live / "secret", 0o644)
    os.chmod(live / "closed", 0o755)
    (live / "closed" / "inside").unlink()
    changed = {(c["change"], c["path"]) for c in user.ok("capture")["changed"]}
    assert ("modified", str(live / "secret")) in changed
    assert ("removed", str(live / "closed" / "inside")) in changed
    assert user.run("cat", live / "secret").out == "changed unseen\n"
    assert user.ok("status")["skipped"] == []


def test_what_cannot_be_read_is_never_called_the_same(user: Pacha, live: Path) -> None:
    first = user.ok("log")["revisions"][0]["id"]
    close(live)
    user.run("capture")
    result = user.run("rollback", live, "--to", first, "-y")
    assert result.code == 3, result
    assert str(live / "secret") in result.out + result.err
    verified = user.run("verify")
    assert verified.code in (3, 4)
    assert "live files are as in" not in verified.out
    different = user.run("diff")
    assert different.code == 3
    assert str(live / "secret") in different.out + different.err


def test_unreadable_from_the_start(user: Pacha, live: Path) -> None:
    (live / "late").mkdir()
    (live / "late" / "file").write_text("x\n")
    os.chmod(live / "late", 0o700)
    result = user.run("capture", "--json")
    assert result.code == 3
    assert [entry["path"] for entry in result.json["skipped"]] == [str(live / "late")]
    os.chmod(live / "late", 0o755)
    changed = [change["path"] for change in user.ok("capture")["changed"]]
    assert str(live / "late" / "file") in changed


def test_the_state_folder_of_another_user(user: Pacha, live: Path) -> None:
    os.chown(user.state, 0, 0)
    result = user.run("capture")
    assert result.code == 1
    assert "Traceback" not in result.err
    assert len(result.err.splitlines()) <= 3
