"""No plaintext of a secret lies anywhere but in the live file: not on the server, nor in the store, the journal,
the index, logs and temporary folders of the host, whatever happened; and it comes back when the host is lost."""

from __future__ import annotations

import json
import random
import secrets
import shutil
import subprocess
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from mercurial import zstd

from tests import needs
from tests.agekeys import Key, age_key, age_tool, ssh_key
from tests.agents import running
from tests.command import Pacha
from tests.faults.kill import GROUP, kill
from tests.faults.shares import shares
from tests.leaks import leaks
from tests.plainhg import StoreCopy
from tests.server.hub import Hub, hub
from tests.server.test_sending import Sending
from tests.steps import revisions

MARK = f"plain-{secrets.token_hex(16)}"  # what nothing else on the machine contains


def secret() -> str:
    """A secret that is like no other, and is found by the mark in it."""
    return f"{MARK}-{secrets.token_hex(8)}"


def token() -> str:
    """What lies nowhere yet, without the mark."""
    return f"plain-{secrets.token_hex(16)}-text"


# -- the scanner finds what is there -------------------------------------------------------------------


def test_the_scanner_finds_what_is_planted(tmp_path: Path) -> None:
    needle = token().encode()
    text = b"a line\n" * 500 + needle + b"\nanother\n" * 500
    place = tmp_path / "place"
    place.mkdir()
    (place / "as-it-is").write_bytes(b"before" + needle + b"after")
    (place / "zlib").write_bytes(b"\x78\x00before" + zlib.compress(text) + b"after")
    (place / "zstd").write_bytes(b"before" + bytes(zstd.ZstdCompressor().compress(text)) + b"after")
    (place / "hex").write_text(needle.hex())
    for shift in range(3):
        import base64

        (place / f"base64-{shift}").write_bytes(base64.b64encode(b"x" * shift + needle + b"tail"))
    found = leaks([place], [needle])
    for path in place.iterdir():
        assert any(line.startswith(f"{path}: ") for line in found), path
    assert not leaks([place], [token().encode()])


def test_the_scanner_finds_what_pacha_stores_in_the_clear(pacha: Pacha, arena: Path) -> None:
    """Short and long contents, whole and as differences, within the index file and in one of its own."""
    needles = []
    noise = "".join(secrets.token_hex(30) + "\n" for _ in range(4000))  # 240 KB that hardly compress
    for number in range(4):
        needles.append(token())
        (arena / "short").write_text(f"{needles[-1]}\n")
        needles.append(token())
        (arena / "long").write_text(f"{noise}{needles[-1]}\n{noise[:5000]}")
        pacha.ok(*(("capture",) if number else ("watch", arena)))
    assert list(pacha.store.rglob("long.d"))
    for needle in needles:
        assert leaks([pacha.store], [needle.encode()]), needle
    in_chunks = leaks([pacha.store / ".hg/store/data"], [needle.encode() for needle in needles])
    assert any("revlog" in line for line in in_chunks)


# -- nothing to be found -------------------------------------------------------------------------------


class Guarded(Sending):
    """A host with secrets, whose temporary files and hooks' findings are its own."""

    def __init__(self, server: Hub, *recipients: Key) -> None:
        self.recipients = recipients
        super().__init__(server)
        self.snaps = self.place / "snaps"
        self.snaps.mkdir()
        self.heard = self.place / "heard"
        for moment in ("pre-capture", "post-capture", "pre-rollback", "post-rollback", "on-failure"):
            hook = self.pacha.config.parent / "hooks" / moment / "50-look"
            hook.parent.mkdir(parents=True)
            # What the state folder holds in the midst of an operation, and all that a hook is told.
            copy = (
                f"cp -a '{self.pacha.state}' '{self.snaps}'/$$ 2>/dev/null" if "rollback" in moment else ":"
            )
            hook.write_text(f"#!/bin/sh\n{copy}\nenv >> '{self.heard}'\ncat >> '{self.heard}'\nexit 0\n")
            hook.chmod(0o755)

    def configure(self, server: str = '"hub"') -> None:
        super().configure(server)
        paths = json.dumps([f"{self.tree}/secret*", f"{self.tree}/private/**"])
        keys = json.dumps([key.public for key in self.recipients])
        text = f"{self.pacha.config.read_text()}[secrets]\npaths = {paths}\nrecipients = {keys}\n"
        self.pacha.config.write_text(text)

    def write(self, name: str, needle: str) -> None:
        """A new content: short, long, or hardly to be compressed."""
        path = self.tree / name
        path.parent.mkdir(exist_ok=True)
        body = "x = 1\n" * 20_000 if "long" in name else secrets.token_hex(30_000) if "key" in name else ""
        path.write_text(f"{body}password = {needle}\n{body[:100]}")

    def contents(self) -> dict[str, bytes]:
        """Every secret as it is now."""
        files = [*self.tree.glob("secret*"), *self.tree.glob("private/*")]
        return {str(path.relative_to(self.tree)): path.read_bytes() for path in files}

    def found(self, *more: Path) -> list[str]:
        """Every place where one of its secrets is, but for the live files."""
        places = [
            self.hub.place / "hosts",
            self.hub.pacha.state,
            self.pacha.state,
            self.pacha.home,
            self.snaps,
            self.heard,
        ]
        return leaks([place for place in [*places, *more] if place.exists()], [MARK.encode()])


def name_of(number: int) -> str:
    """The file of one of many changes: each is changed too seldom to count as restless."""
    return ("secret", "secret-long", "private/key")[number % 3] + str(number // 15)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Hub]:
    with hub(tmp_path / "server") as running_hub:
        yield running_hub


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setenv("TMPDIR", str(place))
    return place


@pytest.mark.parametrize("changes", shares(5, 200))
def test_changes_rollbacks_and_kills(server: Hub, temporary: Path, tmp_path: Path, changes: int) -> None:
    key, other = age_key(tmp_path / "recovery"), ssh_key(tmp_path / "id_ops")
    host, choice = Guarded(server, key, other), random.Random(7)
    contents: dict[str, dict[str, bytes]] = {}
    for number in range(3):
        host.write(name_of(number), secret())
    for number in range(changes):
        name = name_of(number)
        host.write(name, secret())
        if number % 5 == 3:
            # Killed anywhere; then the next command finds it as it was left.
            process = host.pacha.start("capture", "--json")
            time.sleep(choice.uniform(0.05, 0.5))
            kill(process, GROUP)
            process.communicate()
            assert host.found(temporary) == []
        captured = host.capture()
        assert captured.code == 0, captured
        last = revisions(host.pacha)[0]["id"]
        contents[last] = host.contents()
        if number % 5 == 4:
            to = choice.choice([one for one in contents if one != last])
            waiting = host.pacha.ok("rollback", host.tree, "--to", to, "-y", "--confirm", "10m")
            assert host.contents() == contents[to]
            if waiting["confirm"]:
                assert host.found(temporary) == []  # the journal is there, with all its images
                host.pacha.ok("confirm", waiting["confirm"])
            host.write(name, secret())
            host.pacha.run("capture", "--json")
            process = host.pacha.start("rollback", host.tree, "--to", to, "-y", "--json")
            time.sleep(choice.uniform(0.1, 0.6))
            kill(process, GROUP)
            process.communicate()
            assert host.found(temporary) == []
        if number % 20 == 19:
            assert host.found(temporary) == []
    host.pacha.run("capture", "--json")
    for words in (["log", "--json"], ["status", "--json"], ["doctor", "--json"], ["verify", "--json"]):
        said = host.pacha.run(*words)
        assert MARK not in said.out + said.err, words
    assert host.found(temporary) == []
    assert list(host.snaps.iterdir()), "nothing was looked at in the midst of a rollback"
    assert host.complaints() == []
    _lost(server, host, contents, key, tmp_path)


def _lost(
    server: Hub, host: Guarded, contents: dict[str, dict[str, bytes]], key: Key, tmp_path: Path
) -> None:
    """The machine is gone; from the server's copy and a recovery key each content comes back, to the byte."""
    shutil.rmtree(host.pacha.state)
    shutil.rmtree(host.tree)
    host.tree.mkdir()
    copy = tmp_path / "fresh"
    StoreCopy(server.store(host.name), copy)
    host.pacha.state.mkdir(mode=0o700)
    shutil.copytree(copy, host.pacha.store)
    host.configure("[]")
    for revision, files in list(contents.items())[-2:]:
        said = host.pacha.run("rollback", host.tree, "--to", revision, "-y", "--identity", key.file, "--json")
        assert said.code == 0, said
        assert host.contents() == files
    tools = age_tool(tmp_path / "tools")
    revision, files = list(contents.items())[-1]
    copied = StoreCopy(server.store(host.name), copy)
    for name, data in files.items():
        stored = copied.hg("cat", "-r", revision, f"path:files{host.tree}/{name}")
        command = [tools / "age", "-d", "-i", key.file]
        assert subprocess.run(command, input=stored, capture_output=True, check=True).stdout == data


@pytest.mark.parametrize("changes", shares(6, 200))
def test_the_agent(server: Hub, temporary: Path, tmp_path: Path, changes: int) -> None:
    host = Guarded(server, age_key(tmp_path / "one"), age_key(tmp_path / "two"))
    host.pacha.ok("capture")
    with running(host.pacha) as agent:
        for number in range(changes):
            name = name_of(number)
            (host.tree / "private").mkdir(exist_ok=True)
            # The secret stands on the command line as well.
            subprocess.run(
                ["sh", "-c", f"echo 'password = {secret()}' > '{host.tree}/{name}'; sleep 0.02"],
                check=True,
            )
            if number % 4 == 0:
                agent.settle()
        agent.settle()
        assert host.found(temporary, agent.log) == []
        said = host.pacha.run("log", "--json").out + host.pacha.run("status", "--json").out
    assert MARK not in said
    assert host.found(temporary, agent.log) == []


@needs.strace
def test_no_write_of_a_capture_carries_it(pacha: Pacha, arena: Path, tmp_path: Path) -> None:
    """Not to a file without a name, a pipe, or a socket either."""
    keys = [age_key(tmp_path / "one").public, age_key(tmp_path / "two").public]
    pacha.config.write_text(f"[secrets]\npaths = ['{arena}/secret*']\nrecipients = {json.dumps(keys)}\n")
    needle, public = token(), token()
    body = "x" * 9_000_000  # more than a spool keeps in memory
    (arena / "secret").write_text(f"{needle}\n{body}")
    (arena / "secret2").write_text(f"{needle}\n")
    (arena / "public").write_text(f"{public}\n")
    log = tmp_path / "calls"
    calls = "write,pwrite64,writev,pwritev,sendto,sendmsg"
    before = ("strace", "-f", "-qq", "-e", f"trace={calls}", "-s", "200", "-o", str(log))
    result = pacha.run("watch", arena, "--json", before=before)
    assert result.code == 0, result
    said = log.read_text(errors="replace")
    assert public in said, "the calls were not seen"
    assert needle not in said
