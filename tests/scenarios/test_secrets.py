"""Secrets: what `[secrets]` names is stored encrypted, changes when it changes, and comes back for who has a key."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pyrage
import pytest
from tests.agekeys import Key, age_key, ssh_key
from tests.command import Pacha
from tests.plainhg import StoreCopy
from tests.steps import revisions

FIRST, SECOND, THIRD = "hunter2-first\n", "hunter3-second\n", "hunter4-third\n"


@pytest.fixture
def live(arena: Path) -> Path:
    tree = arena / "tree"
    (tree / "private").mkdir(parents=True)
    (tree / "secret").write_text(FIRST)
    (tree / "secret").chmod(0o600)
    (tree / "private" / "key").write_text("private-key\n")
    (tree / "public").write_text("for all\n")
    return tree


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Key, Key]:
    return age_key(tmp_path / "recovery.txt"), ssh_key(tmp_path / "id_ops")


def configure(
    pacha: Pacha, live: Path, *recipients: str, paths: list[str] | None = None, more: str = ""
) -> None:
    """Write the configuration; what is watched stays."""
    named = paths if paths is not None else [f"{live}/secret*", f"{live}/private/**"]
    watch = f"watch = [{json.dumps(str(live))}]\n"
    secrets = f"[secrets]\npaths = {json.dumps(named)}\nrecipients = {json.dumps(list(recipients))}\n"
    pacha.config.write_text(watch + secrets + more)


@pytest.fixture
def watched(pacha: Pacha, live: Path, keys: tuple[Key, Key]) -> Pacha:
    configure(pacha, live, *(key.public for key in keys))
    pacha.ok("capture")
    return pacha


def change(pacha: Pacha, path: Path, text: str) -> str:
    """Write, capture, and the revision."""
    path.write_text(text)
    revision = pacha.ok("capture")["revision"]
    assert isinstance(revision, str)
    return revision


def stored(pacha: Pacha, path: Path, place: Path, rev: str = "tip") -> bytes:
    """What plain Mercurial has of a file's content."""
    return StoreCopy(pacha.store, place).hg("cat", "-r", rev, f"path:files{path}")


def line_of(pacha: Pacha, path: Path, place: Path, rev: str = "tip") -> dict[str, str]:
    """The fields of a file's metadata line, by plain Mercurial."""
    text = StoreCopy(pacha.store, place).hg("cat", "-r", rev, f"path:meta{path.parent}/%meta").decode()
    (line,) = [line for line in text.splitlines() if line.startswith(f"{path.name}\t")]
    return dict(field.split("=", 1) for field in line.split("\t")[2:])


# -- what is stored ------------------------------------------------------------------------------------


def test_a_secret_is_stored_as_age_writes_it(
    watched: Pacha, live: Path, keys: tuple[Key, Key], tmp_path: Path
) -> None:
    data = stored(watched, live / "secret", tmp_path / "copy")
    assert data.startswith(b"age-encryption.org/v1\n")
    for key in keys:
        assert key.opens(data) == FIRST.encode()
    with pytest.raises(pyrage.DecryptError):
        age_key(tmp_path / "stranger").opens(data)
    fields = line_of(watched, live / "secret", tmp_path / "copy")
    assert "sha256" not in fields and len(fields["secret"]) == 64 and len(fields["sealed"]) == 16
    assert fields["mode"] == "0600"
    assert "sha256" in line_of(watched, live / "public", tmp_path / "copy")
    assert stored(watched, live / "public", tmp_path / "copy") == b"for all\n"


def test_equal_secrets_have_unequal_digests(watched: Pacha, live: Path, tmp_path: Path) -> None:
    for name in ("secret1", "secret2"):
        (live / name).write_text("one password\n")
    watched.ok("capture")
    one, two = (line_of(watched, live / name, tmp_path / "copy")["secret"] for name in ("secret1", "secret2"))
    assert one != two


def test_the_host_has_a_key_of_its_own(watched: Pacha, live: Path, tmp_path: Path) -> None:
    file = watched.state / "secrets" / "identity"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    key = Key(file, "")
    assert key.opens(stored(watched, live / "secret", tmp_path / "copy")) == FIRST.encode()


def test_unchanged_is_no_revision(watched: Pacha, live: Path) -> None:
    before = len(revisions(watched))
    assert watched.ok("capture")["revision"] is None
    os.utime(live / "secret")
    assert watched.ok("capture")["revision"] is None
    (live / "secret").write_text(FIRST)
    assert watched.ok("capture")["revision"] is None
    for path in watched.state.glob("index.sqlite*"):
        path.unlink()
    assert watched.ok("status")["pending"] == []
    assert watched.ok("capture")["revision"] is None
    assert watched.ok("verify")["live"] == []
    assert len(revisions(watched)) == before


def test_modes_owners_and_times_make_no_new_content(watched: Pacha, live: Path, tmp_path: Path) -> None:
    before = stored(watched, live / "secret", tmp_path / "copy")
    (live / "secret").chmod(0o640)
    assert [c["change"] for c in watched.ok("capture")["changed"]] == ["metadata"]
    assert stored(watched, live / "secret", tmp_path / "copy") == before


# -- looking back --------------------------------------------------------------------------------------


def test_the_host_itself_reads_everything(watched: Pacha, live: Path) -> None:
    first = revisions(watched)[0]["id"]
    second = change(watched, live / "secret", FIRST + SECOND)
    assert watched.run("cat", live / "secret").out == FIRST + SECOND
    assert watched.run("cat", live / "secret", "--at", first).out == FIRST
    assert f"+{SECOND}" in watched.run("show", second).out
    assert f"+{SECOND}" in watched.run("diff", "--from", first).out
    told = watched.ok("blame", live / "secret")["lines"]
    assert [(line["id"], line["text"]) for line in told] == [(first, FIRST.strip()), (second, SECOND.strip())]
    assert watched.ok("verify")["ok"]
    (live / "secret").write_text(FIRST + SECOND + THIRD)
    assert f"+{THIRD}" in watched.run("diff").out


def without_own(pacha: Pacha) -> None:
    """The host's own key is lost."""
    (pacha.state / "secrets" / "identity").unlink()


def test_without_a_key_it_says_who_could(watched: Pacha, live: Path, keys: tuple[Key, Key]) -> None:
    first = revisions(watched)[0]["id"]
    change(watched, live / "secret", SECOND)
    without_own(watched)
    told = watched.run("cat", live / "secret", "--json")
    assert told.code == 1
    assert told.json["error"]["kind"] == "encrypted"
    message = told.json["error"]["message"]
    assert keys[0].public[:16] in message and "ops@vault" in message and "itself" in message
    assert "--identity" in told.json["error"]["hint"]
    for verb in (["diff", "--from", first, "--to", "tip"], ["show", first], ["blame", live / "secret"]):
        words = [revisions(watched)[0]["id"] if word == "tip" else word for word in verb]
        said = watched.run(*words)
        assert "encrypted for" in said.out + said.err, said
        assert "hunter" not in said.out + said.err
    verified = watched.run("verify", "--json")
    assert verified.code in (3, 4)
    assert {item["path"] for item in verified.json["encrypted"]} == {
        str(live / "secret"),
        str(live / "private/key"),
    }


@pytest.mark.parametrize("which", [0, 1])
def test_with_a_recovery_key_all_is_there(
    watched: Pacha, live: Path, keys: tuple[Key, Key], which: int
) -> None:
    first = revisions(watched)[0]["id"]
    second = change(watched, live / "secret", FIRST + SECOND)
    without_own(watched)
    identity = ("--identity", keys[which].file)
    assert watched.run("cat", live / "secret", "--at", first, *identity).out == FIRST
    assert f"+{SECOND}" in watched.run("show", second, *identity).out
    assert f"+{SECOND}" in watched.run("diff", "--from", first, "--to", second, *identity).out
    told = watched.ok("blame", live / "secret", *identity)["lines"]
    assert [line["id"] for line in told] == [first, second]


def test_keys_that_cannot_be_used_are_told_of(
    watched: Pacha, live: Path, keys: tuple[Key, Key], tmp_path: Path
) -> None:
    closed = ssh_key(tmp_path / "id_closed", passphrase="open sesame")
    public, ecdsa = tmp_path / "public", ssh_key(tmp_path / "id_ecdsa", "ecdsa")
    public.write_text(keys[0].public)
    empty, wrong = tmp_path / "empty", tmp_path / "wrong"
    empty.write_text("# nothing\n")
    wrong.write_text("AGE-SECRET-KEY-1QQQQ\n")
    locked = tmp_path / "locked"
    locked.write_bytes(b"age-encryption.org/v1\n-> scrypt AAAA 18\n")
    for file, words in (
        (closed.file, "passphrase"), (public, "public key"), (ecdsa.file, "cannot be used"), (empty, "no private key"),
        (wrong, "mistyped"), (locked, "itself encrypted"), (tmp_path / "nowhere", "cannot be read"),
    ):  # fmt: skip
        said = watched.run("cat", live / "secret", "--identity", file)
        assert said.code == 2 and words in said.err, said
        assert "Traceback" not in said.err


# -- going back ----------------------------------------------------------------------------------------


def test_rollback_brings_a_secret_back(watched: Pacha, live: Path) -> None:
    first = revisions(watched)[0]["id"]
    was = (live / "secret").stat()
    change(watched, live / "secret", SECOND)
    (live / "private" / "key").unlink()
    watched.ok("capture")
    done = watched.ok("rollback", live, "--to", first, "-y")
    assert all(step["ok"] for step in done["steps"])
    assert (live / "secret").read_text() == FIRST
    assert (live / "private" / "key").read_text() == "private-key\n"
    now = (live / "secret").stat()
    assert (now.st_mode, now.st_mtime_ns) == (was.st_mode, was.st_mtime_ns)
    assert watched.ok("rollback", live, "--to", first, "-y")["steps"] == []
    assert not watched.ok("status")["pending"]


def test_rollback_on_a_host_that_has_lost_its_key(watched: Pacha, live: Path, keys: tuple[Key, Key]) -> None:
    first = revisions(watched)[0]["id"]
    change(watched, live / "secret", SECOND)
    without_own(watched)
    refused = watched.run("rollback", live / "secret", "--to", first, "-n", "--json")
    assert refused.code == 3
    (step,) = refused.json["steps"]
    assert not step["ok"] and "encrypted for" in step["reason"] and "--identity" in step["reason"]
    assert watched.run("rollback", live / "secret", "--to", first, "-y").code == 3
    assert (live / "secret").read_text() == SECOND
    done = watched.ok("rollback", live / "secret", "--to", first, "-y", "--identity", keys[1].file)
    assert [step["ok"] for step in done["steps"]] == [True]
    assert (live / "secret").read_text() == FIRST
    # What is stored from here on the host reads by itself again; the digests of before do not deceive it.
    assert watched.run("cat", live / "secret").out == FIRST
    again = watched.ok("rollback", live / "secret", "--to", first, "-y", "--identity", keys[1].file)
    assert again["steps"] == []


def test_undone_unless_confirmed(watched: Pacha, live: Path) -> None:
    first = revisions(watched)[0]["id"]
    change(watched, live / "secret", SECOND)
    hook = watched.config.parent / "hooks" / "post-rollback" / "10-no"
    hook.parent.mkdir(parents=True)
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    assert watched.run("rollback", live / "secret", "--to", first, "-y").code == 1
    assert (live / "secret").read_text() == SECOND


# -- turning it on and off, other recipients -----------------------------------------------------------


def test_turning_it_on_is_told_and_the_clear_versions_can_go(
    pacha: Pacha, live: Path, keys: tuple[Key, Key], tmp_path: Path
) -> None:
    configure(pacha, live, paths=[])
    pacha.ok("capture")
    change(pacha, live / "secret", SECOND)
    first = revisions(pacha)[-1]["id"]
    configure(pacha, live, *(key.public for key in keys))
    assert pacha.ok("status")["encrypted"] == [
        {"path": str(live / "private/key")},
        {"path": str(live / "secret")},
    ]
    told = pacha.run("capture")
    assert told.code == 0
    assert "stays in the history in the clear" in told.err and "--keep-last" in told.err
    assert pacha.run("cat", live / "secret", "--at", first).out == FIRST
    assert pacha.ok("rollback", live / "secret", "--to", revisions(pacha)[1]["id"], "-y")["steps"] == []
    forgotten = pacha.ok("forget", live / "secret", "--keep-last", "-y")
    assert forgotten["forgotten"] == 2
    assert pacha.run("cat", live / "secret", "--at", first).code == 2
    assert pacha.run("cat", live / "secret").out == SECOND
    assert pacha.ok("verify")["ok"]
    copy = StoreCopy(pacha.store, tmp_path / "copy")
    assert not copy.holds(FIRST.strip().encode()) and not copy.holds(SECOND.strip().encode())


def test_going_back_to_what_was_in_the_clear_and_to_what_was_not(
    pacha: Pacha, live: Path, keys: tuple[Key, Key], tmp_path: Path
) -> None:
    configure(pacha, live, paths=[])
    pacha.ok("capture")
    clear = revisions(pacha)[0]["id"]
    configure(pacha, live, *(key.public for key in keys))
    sealed = change(pacha, live / "secret", SECOND)
    pacha.ok("rollback", live / "secret", "--to", clear, "-y")
    assert (live / "secret").read_text() == FIRST
    assert stored(pacha, live / "secret", tmp_path / "copy").startswith(b"age-")
    configure(pacha, live, paths=[])
    pacha.ok("capture")
    pacha.ok("rollback", live / "secret", "--to", sealed, "-y")
    assert (live / "secret").read_text() == SECOND
    assert stored(pacha, live / "secret", tmp_path / "copy") == SECOND.encode()


def test_turning_it_off_is_told(watched: Pacha, live: Path, tmp_path: Path) -> None:
    configure(watched, live, paths=[])
    assert watched.ok("status")["cleared"] == [
        {"path": str(live / "private/key")},
        {"path": str(live / "secret")},
    ]
    assert "the next revision holds it in the clear" in watched.run("status").out
    told = watched.run("capture")
    assert "in the clear" in told.err
    assert stored(watched, live / "secret", tmp_path / "copy") == FIRST.encode()


def test_rekey(watched: Pacha, live: Path, keys: tuple[Key, Key], tmp_path: Path) -> None:
    new = age_key(tmp_path / "new.txt")
    old = revisions(watched)[0]["id"]
    configure(watched, live, keys[1].public, new.public)
    assert [one["path"] for one in watched.ok("capture")["changed"]] == [str(watched.config)]
    assert "secrets rekey" in watched.run("doctor").out
    assert len(watched.ok("secrets", "rekey", "-n")["rekeyed"]) == 2
    assert not watched.ok("status")["pending"]
    done = watched.ok("secrets", "rekey")
    assert done["former"] == [keys[0].public]
    assert {one["change"] for one in done["changed"]} == {"metadata"}
    data = stored(watched, live / "secret", tmp_path / "copy")
    assert new.opens(data) == FIRST.encode() == keys[1].opens(data)
    with pytest.raises(pyrage.DecryptError):
        keys[0].opens(data)
    assert keys[0].opens(stored(watched, live / "secret", tmp_path / "copy", old)) == FIRST.encode()
    assert watched.ok("secrets", "rekey")["revision"] is None
    # A content that comes back is not stored for those any more who could read it then.
    change(watched, live / "secret", SECOND)
    watched.ok("rollback", live / "secret", "--to", old, "-y")
    with pytest.raises(pyrage.DecryptError):
        keys[0].opens(stored(watched, live / "secret", tmp_path / "copy"))
    without_own(watched)
    words = watched.run("cat", live / "secret", "--at", old).err
    assert keys[0].public[:16] in words and new.public[:16] not in words


def test_few_recipients_are_warned_of(pacha: Pacha, live: Path, keys: tuple[Key, Key]) -> None:
    configure(pacha, live)
    assert "nobody can ever read" in pacha.run("capture").err
    assert "nobody can ever read" in pacha.run("doctor").out
    configure(pacha, live, keys[0].public)
    assert "fewer than two" in pacha.run("doctor").out
    configure(pacha, live, *(key.public for key in keys))
    assert "fewer than two" not in pacha.run("doctor").out


# -- odd files -----------------------------------------------------------------------------------------


def test_other_names_of_a_secret_are_secret(watched: Pacha, live: Path, tmp_path: Path) -> None:
    os.link(live / "secret", live / "a-name")
    os.link(live / "secret", live / "zz-name")
    watched.ok("capture")
    for name in ("a-name", "secret", "zz-name"):
        assert stored(watched, live / name, tmp_path / "copy").startswith(b"age-"), name
        assert watched.run("cat", live / name).out == FIRST
    assert watched.ok("capture")["revision"] is None
    (live / "zz-name").write_text(SECOND)
    watched.ok("capture", live / "zz-name")
    assert stored(watched, live / "zz-name", tmp_path / "copy").startswith(b"age-")
    first = revisions(watched)[1]["id"]
    watched.ok("rollback", live, "--to", first, "-y")
    assert [(live / name).read_text() for name in ("a-name", "secret", "zz-name")] == [FIRST] * 3
    assert (live / "a-name").stat().st_ino == (live / "zz-name").stat().st_ino
    assert watched.ok("rollback", live, "--to", first, "-y")["steps"] == []


def test_links_empty_large_and_sparse(watched: Pacha, live: Path, tmp_path: Path) -> None:
    (live / "secret-link").symlink_to("secret")
    (live / "secret-empty").touch()
    with open(live / "secret-sparse", "wb") as file:
        file.truncate(100_000)
        file.seek(90_000)
        file.write(b"end")
    sparse = (live / "secret-sparse").read_bytes()
    (live / "secret-large").write_bytes(b"L" * 2_000_000)
    watched.config.write_text(watched.config.read_text() + '[capture]\nmax_file_size = "1MB"\n')
    revision = watched.ok("capture")["revision"]
    fields = line_of(watched, live / "secret-large", tmp_path / "copy")
    assert "sha256" not in fields and "sealed" not in fields and fields["size"] == "2000000"
    assert "holes" not in line_of(watched, live / "secret-sparse", tmp_path / "copy")
    assert watched.run("cat", live / "secret-empty").out == ""
    assert watched.ok("capture")["revision"] is None
    for name in ("secret-link", "secret-empty", "secret-sparse"):
        (live / name).unlink()
    watched.ok("rollback", live, "--to", revision, "-y")
    assert os.readlink(live / "secret-link") == "secret"
    assert (live / "secret-empty").read_bytes() == b""
    assert (live / "secret-sparse").read_bytes() == sparse


def test_volatile_lines_of_a_secret(watched: Pacha, live: Path) -> None:
    rule = f"[[normalize]]\npaths = [{json.dumps(str(live / 'secret'))}]\ndrop = ['^# at ']\n"
    watched.config.write_text(watched.config.read_text() + rule)
    change(watched, live / "secret", "# at 1\npassword\n")
    (live / "secret").write_text("# at 2\npassword\n")
    assert watched.ok("capture")["revision"] is None
    for path in watched.state.glob("index.sqlite*"):
        path.unlink()
    assert watched.ok("capture")["revision"] is None
    assert change(watched, live / "secret", "# at 2\nother\n")


def test_a_damaged_secret_is_found(watched: Pacha, live: Path) -> None:
    """Encrypted for this host, but of another content than its line tells."""
    facts: dict[str, Any] = watched.ok("verify")
    assert facts["store"]["ok"] and facts["encrypted"] == []


# -- others --------------------------------------------------------------------------------------------


def test_hooks_are_told_that_and_not_what(watched: Pacha, live: Path, tmp_path: Path) -> None:
    heard = tmp_path / "heard"
    for moment in ("pre-capture", "post-capture", "check", "pre-rollback", "post-rollback", "on-failure"):
        hook = watched.config.parent / "hooks" / moment / "50-note"
        hook.parent.mkdir(parents=True, exist_ok=True)
        hook.write_text(f"#!/bin/sh\nenv >> '{heard}'; cat >> '{heard}'\n")
        hook.chmod(0o755)
    first = revisions(watched)[0]["id"]
    os.link(live / "secret", live / "another")
    change(watched, live / "secret", SECOND)
    watched.ok("rollback", live, "--to", first, "-y")
    said = heard.read_text()
    assert f"modified {live}/secret" in said and "hunter" not in said


def test_a_mistyped_recipient_is_refused(pacha: Pacha, live: Path, keys: tuple[Key, Key]) -> None:
    good = keys[0].public
    for bad in (good[:-1] + ("q" if good[-1] != "q" else "p"), "age1abc", "ssh-ed25519 AAAA", "ssh-dss AAAA", keys[0].file.read_text().split()[-1]):  # fmt: skip
        configure(pacha, live, bad)
        said = pacha.run("capture")
        assert said.code == 2 and "secrets.recipients" in said.err, said
