"""What `doctor` says of a server, and of an sshd that is not as it should be."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from pacha.core.sshd_settings import Account, findings, parse_settings, slow_start
from tests.command import Pacha
from tests.sshd import PRIVATE_RUN, PROGRAM, SEPARATION, Sshd, make_key, sshd

ACCOUNT = Account("pacha", "/var/lib/pacha-server", "/bin/sh", "/var/lib/pacha-server/.ssh/authorized_keys")
FINE = """\
port 22
pubkeyauthentication yes
permitrootlogin no
authorizedkeysfile .ssh/authorized_keys .ssh/authorized_keys2
permituserenvironment no
forcecommand none
chrootdirectory none
maxstartups 200:30:400
acceptenv LANG
acceptenv LC_*
"""


def test_an_ordinary_sshd_is_fine() -> None:
    assert findings(parse_settings(FINE), ACCOUNT, 150) == []


@pytest.mark.parametrize(
    ("changed", "state", "words", "mend"),
    [
        ("pubkeyauthentication no", "bad", "takes no keys", "PubkeyAuthentication yes"),
        ("authorizedkeysfile /etc/ssh/keys/%u", "bad", "sshd reads /etc/ssh/keys/pacha, but", "AuthorizedKeysFile /var"),
        ("forcecommand internal-sftp", "bad", "instead of Pacha", "ForceCommand none"),
        ("chrootdirectory /srv", "bad", "confines", "ChrootDirectory none"),
        ("acceptenv *", "bad", "clients may set LD_PRELOAD", "AcceptEnv LANG LC_*"),
        ("acceptenv PYTHON*", "bad", "clients may set PYTHONPATH and others", "AcceptEnv"),
        ("permituserenvironment yes", "warning", "~/.ssh/environment", "PermitUserEnvironment no"),
        ("maxstartups 10:30:100", "warning", "more than 10 of 150 hosts", "MaxStartups 150:30:300"),
        ("allowusers anna", "bad", "AllowUsers does not name", "AllowUsers … pacha"),
        ("denyusers pach*", "bad", "DenyUsers names", "DenyUsers"),
    ],
)  # fmt: skip
def test_what_keeps_hosts_out_or_lets_too_much_in_is_named(
    changed: str, state: str, words: str, mend: str
) -> None:
    name = changed.partition(" ")[0]
    kept = [line for line in FINE.splitlines() if name == "acceptenv" or not line.startswith(name)]
    (found,) = findings(parse_settings("\n".join([*kept, changed])), ACCOUNT, 150)
    assert found.state == state and words in found.words and mend in found.mend


def test_accounts_that_cannot_be_served_by() -> None:
    (found,) = findings(parse_settings(FINE), ACCOUNT._replace(shell="/usr/sbin/nologin"), 1)
    assert "usermod -s /bin/sh pacha" in found.mend
    assert [one.state for one in slow_start("/bin/bash", True)] == ["warning"]
    assert slow_start("/bin/sh", True) == slow_start("/bin/bash", False) == []
    root = Account("root", "/root", "/bin/bash", "/root/.ssh/authorized_keys")
    (found,) = findings(parse_settings(FINE), root, 1)
    assert "PermitRootLogin" in found.mend
    odd = ACCOUNT._replace(keys="/etc/ssh/keys/pacha")
    assert findings(parse_settings(FINE.replace(".ssh/authorized_keys2", "/etc/ssh/keys/%u")), odd, 1) == []


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[tuple[Pacha, Sshd]]:
    """A server that was set up, under an sshd that accepts more than it should."""
    pacha = Pacha.at(tmp_path / "hub")
    keys = pacha.home / ".ssh" / "authorized_keys"
    keys.parent.mkdir(mode=0o700)
    keys.touch(0o600)
    with sshd(tmp_path / "sshd", "AcceptEnv LANG BASH_ENV", authorized_keys=keys) as server:
        tool = tmp_path / "sshd-as-here"
        wrapped = shlex.join(PRIVATE_RUN) if os.geteuid() == 0 and not SEPARATION.is_dir() else "exec"
        tool.write_text(f'#!/bin/sh\n{wrapped} {PROGRAM} -f {server.folder}/sshd_config "$@"\n')
        tool.chmod(0o755)
        pacha.config.write_text(f'[serve]\nsshd = "{tool}"\n')
        made = pacha.ok("server", "init")
        assert [one["words"] for one in made["findings"]] == [
            "clients may set BASH_ENV: AcceptEnv LANG BASH_ENV"
        ]
        yield pacha, server


def test_doctor_looks_at_a_server(hub: tuple[Pacha, Sshd]) -> None:
    pacha, server = hub
    make_key(server.folder / "one")
    pacha.ok("host", "add", "web1", "--key", server.folder / "one.pub")

    def found() -> dict[str, tuple[str, str, str]]:
        checks = pacha.run("doctor", "--json").json["checks"]
        return {one["name"]: (one["state"], one["words"], one["mend"]) for one in checks}

    first = found()
    assert first["sshd"][0] == "bad" and "BASH_ENV" in first["sshd"][1]
    assert first["keys"][0] == first["forced command"][0] == first["histories"][0] == "ok"
    assert first["hosts"][:2] == ("warning", "web1 never sent anything")
    server.authorized_keys.write_text("")
    (pacha.state / "hosts").chmod(0o755)
    second = found()
    assert second["keys"] == (
        "bad", f"{server.authorized_keys} is not as it should be for web1", "pacha server init",
    )  # fmt: skip
    assert second["histories"][0] == "bad" and "chmod 0700" in second["histories"][2]
    server.authorized_keys.parent.chmod(0o777)
    checks = pacha.run("doctor", "--json").json["checks"]
    assert any(one["name"] == "sshd" and "chmod go-w" in one["mend"] for one in checks)


def test_doctor_says_nothing_of_servers_where_there_is_none(pacha: Pacha) -> None:
    names = {one["name"] for one in pacha.run("doctor", "--json").json["checks"]}
    assert not names & {"sshd", "keys", "histories", "forced command"}
