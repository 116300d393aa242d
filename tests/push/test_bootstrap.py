"""Pacha brought to a host that has none, over the connection that the push goes by."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from pacha.adapters.sessions import Sessions
from pacha.ops import bootstrap as ops_bootstrap
from tests.push.fleet import fleet


@pytest.mark.root
def test_pacha_comes_to_a_host_that_has_none(tmp_path: Path) -> None:
    """The host's /usr/local is a folder of the test's own, and empty."""
    with fleet(tmp_path) as them:
        local = tmp_path / "local"
        local.mkdir()
        host = them.host("bare", f"exec unshare --mount sh {tmp_path}/enter")
        own = {"PACHA_CONFIG": host.pacha.config, "PACHA_STATE": host.pacha.state, "HOME": host.pacha.home}
        settings = "".join(f"export {name}='{value}'\n" for name, value in own.items())
        words = f"mount --bind {local} /usr/local\nPATH=/usr/local/bin:/usr/bin:/bin\n{settings}"
        (tmp_path / "enter").write_text(words + 'eval "$SSH_ORIGINAL_COMMAND"\n')
        them.deploy("motd", {"files/etc/motd": "hello\n"})
        assert "there is no Pacha on it" in them.push("motd", "bare").out
        assert not list(local.iterdir())
        result = them.push("motd", "bare", "--bootstrap")
        assert result.code == 0, result
        assert host.read("/etc/motd") == "hello\n"
        assert (local / "bin" / "pacha").exists()
        assert "nothing to do" in them.push("motd", "bare").out


def test_a_host_that_hangs_meanwhile_keeps_nobody_else_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says what it is; then nothing is heard of it, and its process is left to nobody."""
    monkeypatch.setattr(ops_bootstrap, "SILENCE", 2.0)
    hang = "sh -c 'sleep 600'"
    with fleet(tmp_path) as them:
        them.host("hanging", hang)
        them.host("refusing", "sh -c 'echo no >&2; exit 3'")
        sessions = Sessions(f"ssh -F {them.ssh_config}", str(them.pusher.state))
        try:
            told = ops_bootstrap.bootstrap(
                sessions, ["hanging", "refusing"], b"", lambda *_machine: b"", 1, time.monotonic
            )
        finally:
            sessions.close()
    assert {host: trouble and trouble.message for host, trouble in told.items()} == {
        "hanging": "it has said nothing for 2 s",
        "refusing": "it does not say what it is: no",
    }
