"""The same through a real sshd, by a key that is bound to `pacha receive`."""

from __future__ import annotations

import json
import shlex
import subprocess
import time
from pathlib import Path

from tests.agents import until
from tests.receive.parcels import Target, file, stream
from tests.sshd import sshd


def test_a_bound_key_receives_whatever_the_client_asks_for(tmp_path: Path) -> None:
    host = Target(tmp_path / "host")
    places = ("--config", host.pacha.config, "--state", host.pacha.state)
    forced = shlex.join(map(str, [*host.pacha.argv(*places), "receive"]))
    with sshd(tmp_path / "sshd") as server:
        key = server.key("pusher")
        server.authorize(key, f'restrict,command="{forced}"')
        began = time.monotonic()
        done = subprocess.run(
            [*server.ssh(key), "cat /etc/shadow"],
            input=stream([file("/etc/a", b"a\n")]),
            capture_output=True,
            check=True,
        )
        answered = time.monotonic() - began
        assert json.loads(done.stdout.splitlines()[-1])["ok"]
        # Whoever records it does not keep the connection open.
        assert host.journals
        until(lambda: not host.journals)
        assert time.monotonic() - began > answered
    assert host.read("/etc/a") == b"a\n"


def test_a_connection_that_breaks_within_the_stream_leaves_all_as_it_was(tmp_path: Path) -> None:
    host = Target(tmp_path / "host")
    forced = shlex.join(
        map(str, [*host.pacha.argv(), "--config", host.pacha.config, "--state", host.pacha.state, "receive"])
    )
    with sshd(tmp_path / "sshd") as server:
        key = server.key("pusher")
        server.authorize(key, f'restrict,command="{forced}"')
        process = subprocess.Popen([*server.ssh(key)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(stream([file("/etc/a", b"a\n" * 100_000)])[:-10])
        process.stdin.flush()
        assert process.stdout.readline() == b'{"phase": "verify"}\n'
        process.kill()
        process.communicate()
        again = subprocess.run(
            [*server.ssh(key)], input=stream([file("/etc/b", b"b\n")]), capture_output=True, check=True
        )
    assert json.loads(again.stdout.splitlines()[-1])["ok"]
    assert sorted(path.name for path in (host.root / "etc").iterdir()) == ["b"]
