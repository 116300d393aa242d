"""Pacha brought to a host that has none, over the connection that the push goes by."""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
import time
from pathlib import Path

import pytest

from pacha.adapters.sessions import Sessions
from pacha.ops import bootstrap as ops_bootstrap
from tests.agents import until
from tests.push.fleet import Fleet, fleet

# A host that has Pacha from the moment on when somebody has brought it there.
BECOMING = """\
case "$SSH_ORIGINAL_COMMAND" in
"pacha receive") [ -e {flag} ] || exit 127; exec {receive} ;;
*arrival*) cat > /dev/null; touch {flag}; echo '{{"ok": true}}' ;;
*) echo {look} ;;
esac
"""


def becoming(them: Fleet, name: str) -> None:
    """One more host, such a one."""
    script = them.place / f"{name}.sh"
    host = them.host(name, f"sh {script}")
    look = json.dumps([sys.executable, sys.version_info[:2], os.uname().machine, "glibc", True])
    flag = them.place / f"{name}.has"
    script.write_text(BECOMING.format(flag=flag, receive=host.command(), look=shlex.quote(look)))


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


def test_stopped_after_it_brought_pacha_it_tells_who_was_not_begun(tmp_path: Path) -> None:
    with fleet(tmp_path) as them:
        becoming(them, "web1")
        becoming(them, "web2")
        hook = "#!/bin/sh\ntouch $PACHA_ROOT/begun; sleep 2\n"
        them.deploy("motd", {"files/etc/motd": "hello\n", "hooks/post-push/10-wait": hook})
        pushing = them.pusher.start(
            "push", "motd", "web1", "web2", "-y", "--json", "--bootstrap", "--jobs", "1"
        )
        until(lambda: them.hosts["web1"].has("/begun"))
        pushing.send_signal(signal.SIGINT)
        result = them.pusher.finish(pushing)
        assert result.code == 130, result
        last = json.loads(result.out.splitlines()[-1])
        assert (last["hosts"]["changed"], last["hosts"]["skipped"]) == (["web1"], ["web2"])
        assert not last["hosts"]["failed"]
        assert them.push("motd", "--retry").code == 0
        assert them.hosts["web2"].read("/etc/motd") == "hello\n"
