"""The harness itself: a server of the test's own, forced commands, sessions that end with it."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

from tests.agents import until
from tests.sshd import runs, sshd


def test_a_forced_command_sees_what_the_client_asked_for(tmp_path: Path) -> None:
    with sshd(tmp_path / "sshd") as server:
        server.authorize(server.key("a"), 'restrict,command="echo forced $SSH_ORIGINAL_COMMAND"')
        said = subprocess.run(
            [*server.ssh(server.key("a")), "some words"], capture_output=True, text=True, timeout=30
        )
        stranger = subprocess.run(
            [*server.ssh(server.key("b")), "id"], capture_output=True, text=True, timeout=30
        )
    assert (said.returncode, said.stdout, said.stderr) == (0, "forced some words\n", "")
    assert stranger.returncode == 255
    assert "Permission denied" in stranger.stderr


def test_sessions_end_with_the_server_and_it_comes_back_on_its_port(tmp_path: Path) -> None:
    with sshd(tmp_path / "sshd") as server:
        server.authorize(server.key("a"))
        client = subprocess.Popen([*server.ssh(server.key("a")), "sleep 60"], stderr=subprocess.PIPE)
        sessions = until(lambda: server.sessions() if len(server.sessions()) > 1 else [])
        server.stop(signal.SIGKILL)
        assert client.wait(20) == 255
        assert client.stderr is not None
        client.stderr.close()
        assert not any(map(runs, sessions))
        server.start()
        again = subprocess.run([*server.ssh(server.key("a")), "echo back"], capture_output=True, timeout=30)
        assert again.stdout == b"back\n"
