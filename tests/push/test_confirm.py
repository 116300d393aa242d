"""`push --confirm`: kept where a new connection goes through, else undone, and the pusher tells which."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.push.fleet import Fleet, fleet

OLD, NEW = "old\n", "new\n"


@pytest.fixture
def them(tmp_path: Path) -> Iterator[Fleet]:
    with fleet(tmp_path, "web1", "web2") as made:
        for host in made.hosts.values():
            host.write("/etc/motd", OLD)
            host.pacha.ok("watch", "/etc/motd")
        yield made


def locking_out(them: Fleet) -> dict[str, str]:
    """Hooks: the last one keeps everybody out, and that for a failure lets them in again."""
    keys = them.server.authorized_keys
    return {
        "hooks/post-push/1": f"#!/bin/sh\ncp {keys} {keys}.kept && : > {keys}\n",
        "hooks/on-failure/1": f"#!/bin/sh\n[ ! -e {keys}.kept ] || mv {keys}.kept {keys}\n",
    }


def test_it_is_kept_where_a_new_connection_goes_through(them: Fleet) -> None:
    them.deploy("motd", {"files/etc/motd": NEW})
    result, hosts, last = them.told("motd", "web1", "web2", "--confirm", "30s")
    assert result.code == 0, result
    assert last["hosts"]["changed"] == ["web1", "web2"]
    assert all(line["confirmed"] for line in hosts.values())
    assert all(line["steps"][0]["path"] == "/etc/motd" for line in hosts.values())
    for host in them.hosts.values():
        assert host.pacha.ok("status")["unconfirmed"] == []
        assert host.read("/etc/motd") == NEW
        assert "push of motd" in host.pacha.ok("log")["revisions"][0]["message"]
    assert "nothing to do" in them.push("motd", "web1", "--confirm", "30s").out


def test_the_person_is_told(them: Fleet) -> None:
    them.deploy("motd", {"files/etc/motd": NEW})
    assert "web1  changed: 1 file, confirmed" in them.push("motd", "web1", "--confirm", "30s").out


def test_who_is_locked_out_is_let_in_again(them: Fleet) -> None:
    """The kept connection would go through: it does not count."""
    them.deploy("motd", {"files/etc/motd": NEW, **locking_out(them)})
    began = time.monotonic()
    result, _, last = them.told("motd", "web1", "--confirm", "3s")
    assert time.monotonic() - began < 3 + 12
    assert result.code == 1
    assert last["hosts"]["reverted"] == ["web1"]
    assert them.hosts["web1"].read("/etc/motd") == OLD
    them.deploy("other", {"files/etc/motd": NEW})
    result = them.push("other", "web1", "--confirm", "30s")
    assert (result.code, them.hosts["web1"].read("/etc/motd")) == (0, NEW), result
    messages = [one["message"] for one in them.hosts["web1"].pacha.ok("log")["revisions"]]
    assert any(one.startswith("undone: push of motd") for one in messages), messages


def test_a_connection_that_the_push_itself_cuts_is_no_failure(them: Fleet) -> None:
    them.deploy("motd", {"files/etc/motd": NEW, "hooks/post-push/1": CUT})
    result, _, last = them.told("motd", "web1", "--confirm", "20s")
    assert (result.code, last["hosts"]["changed"]) == (0, ["web1"]), result
    assert them.hosts["web1"].read("/etc/motd") == NEW


# End the sshd that this runs below, and with it the connection.
CUT = """\
#!/bin/sh
pid=$$
while [ "$(cat /proc/$pid/comm)" != sshd ]; do
    pid=$(cut -d' ' -f4 "/proc/$pid/stat") || exit 1
done
kill -9 "$pid"
"""


def test_a_failed_script_is_told_at_once(them: Fleet) -> None:
    them.deploy("motd", {"files/etc/motd": NEW, "hooks/post-push/1": "#!/bin/sh\nexit 1\n"})
    began = time.monotonic()
    result, _, last = them.told("motd", "web1", "--confirm", "60s")
    assert time.monotonic() - began < 20
    assert (result.code, last["hosts"]["reverted"]) == (1, ["web1"])
    assert them.hosts["web1"].read("/etc/motd") == OLD


def test_a_first_push_that_nobody_confirms_leaves_nothing(them: Fleet) -> None:
    them.deploy("first", {"files/srv/app/conf": NEW, **locking_out(them)})
    result = them.push("first", "web1", "--confirm", "2s")
    assert result.code == 1
    assert "undone" in result.out
    assert not them.hosts["web1"].has("/srv")


@pytest.mark.parametrize("words", ["0s", "soon", "2d"])
def test_a_time_that_is_none(them: Fleet, words: str) -> None:
    them.deploy("motd", {"files/etc/motd": NEW})
    result = them.push("motd", "web1", "--confirm", words)
    assert result.code == 2, result
    assert them.hosts["web1"].read("/etc/motd") == OLD
