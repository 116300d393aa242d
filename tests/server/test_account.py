"""`server init --account`: an account of its own, made by root, in a private copy of /etc and /var/lib.

Nothing of the machine's own is touched: everything runs in one mount namespace with its own /etc, /var/lib and
/run, which goes with it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import REPOSITORY
from tests.sshd import PROGRAM, free_port, make_key

SCRIPT = """\
set -eu
place=$1 port=$2 python=$3
cp -a /etc "$place/etc"
mkdir -p "$place/lib"
mount --bind "$place/etc" /etc
mount --bind "$place/lib" /var/lib
mount -t tmpfs -o mode=755 none /run
mkdir -m 755 /run/sshd
# Who unmounts the disk of another test waits until it is mounted nowhere.
grep '^/dev/loop' /proc/self/mounts | cut -d ' ' -f 2 | xargs -r -n 1 umount
sed -i 's/^root:[^:]*:/root:*:/' /etc/shadow  # whose account must not be locked for the one login below
cp "$place/admin.pub" /etc/admin.pub
mkdir /etc/pacha
printf '[serve]\nsshd = "%s"\n' "$place/bin/sshd" > /etc/pacha/pacha.toml
export HOME="$place/home" PATH="$place/bin:$PATH"

pacha --json server init --account pachatest > "$place/init.json"
pacha --json host add web1 --key "$place/web1.pub" > "$place/add.json"
pacha --json host list > "$place/list.json"

"$4" -D -e -f "$place/sshd_config" 2> "$place/sshd.log" &
sshd=$!
trap 'kill $sshd' EXIT
for i in $(seq 100); do
    (echo > /dev/tcp/127.0.0.1/$port) 2> /dev/null && break
    sleep 0.05
done
ask() { ssh -F "$place/ssh_config" hub "$@"; }
printf 'pacha\\n' | ask pacha serve --protocol 1 > "$place/told"
ask id > "$place/shell" 2>&1 || echo "exit $?" >> "$place/shell"
pacha --json doctor > "$place/doctor.json" || true
pacha --json host list > "$place/list2.json"
pacha log --host web1 > "$place/log" 2>&1 || echo "exit $?" >> "$place/log"
PACHA_SSH="ssh -F $place/admin_config" pacha --json host add web2 --ssh web2 --address hub > "$place/enrol.json" ||
    echo "exit $?"
pacha --json host list > "$place/list3.json"
find /var/lib/pachatest-server /etc/pacha -printf '%u %m %p\\n' | sort > "$place/tree"
getent passwd pachatest > "$place/passwd"
getent shadow pachatest > "$place/shadow"
"""
CLIENT = """\
Host hub
    HostName 127.0.0.1
    Port {port}
    User pachatest
    IdentityFile {place}/web1
    IdentityAgent none
    UserKnownHostsFile {place}/known
    BatchMode yes
    LogLevel ERROR
"""
# How root on the server reaches a host, and what is there: a Pacha with files of its own.
ADMIN = """\
Host web2
    HostName 127.0.0.1
    Port {port}
    User root
    IdentityFile {place}/admin
    IdentityAgent none
    UserKnownHostsFile {place}/known
    BatchMode yes
"""
THERE = """\
#!/bin/sh
export HOME={place}/web2 PACHA_CONFIG={place}/web2/pacha.toml PACHA_STATE={place}/web2/state
exec {python} -P -m pacha "$@"
"""
SERVER = """\
ListenAddress 127.0.0.1
Port {port}
HostKey {place}/host_key
PidFile none
UsePAM no
PasswordAuthentication no
Match User root
    AuthorizedKeysFile /etc/admin.pub
    SetEnv PATH={place}/there:/usr/bin:/bin HOME={place}/web2
"""


def _python_for_all(place: Path) -> Path:
    """A Python with Pacha that every account may run, as an installed one is."""
    minor = f"{sys.version_info.major}.{sys.version_info.minor}"
    for base in (os.path.realpath(sys.executable), f"/usr/bin/python{minor}"):
        folder = place / "venv"
        made = subprocess.run(
            [base, "-m", "venv", "--clear", "--without-pip", str(folder)], capture_output=True
        )
        packages = folder / "lib" / f"python{minor}" / "site-packages"
        if made.returncode == 0 and packages.is_dir():
            paths = [str(REPOSITORY / "src"), *(path for path in sys.path if path.endswith("site-packages"))]
            (packages / "all.pth").write_text("\n".join(paths))
            program = folder / "bin" / "python"
            words = ["sh", "-c", f"exec {program} -P -m pacha --version"]
            done = subprocess.run(
                words, user=65534, group=65534, extra_groups=[], cwd="/", capture_output=True
            )
            if done.returncode == 0:
                return program
    pytest.skip("no other account can run a Python of this machine's with this checkout")


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs to be root")
def test_root_serves_as_an_account_that_it_makes(open_arena: Path) -> None:
    place, port = open_arena, free_port()
    for folder in ("home", "bin", "there", "web2"):
        (place / folder).mkdir()
    python = _python_for_all(place)
    for path, text in (
        ("bin/pacha", f'#!/bin/sh\nexec {python} -P -m pacha "$@"\n'),
        ("bin/sshd", f'#!/bin/sh\nexec {PROGRAM} -f {place}/sshd_config "$@"\n'),
        ("there/pacha", THERE.format(place=place, python=python)),
    ):
        (place / path).write_text(text)
        (place / path).chmod(0o755)
    for name in ("web1", "admin", "host_key"):
        make_key(place / name)
    (place / "admin_config").write_text(ADMIN.format(place=place, port=port))
    way = CLIENT.format(place=place, port=port).replace(f"{place}/web1", "/dev/null")
    (place / "web2" / "ssh_config").write_text(way)
    (place / "web2" / "pacha.toml").write_text(f'host = "web2"\nssh = "ssh -F {place}/web2/ssh_config"\n')
    (place / "known").write_text(f"[127.0.0.1]:{port} {(place / 'host_key.pub').read_text()}")
    (place / "ssh_config").write_text(CLIENT.format(place=place, port=port))
    (place / "sshd_config").write_text(SERVER.format(place=place, port=port))
    words = ["unshare", "--mount", "--propagation", "private", "bash", "-c", SCRIPT, "bash"]
    done = subprocess.run(
        [*words, str(place), str(port), str(python), PROGRAM], capture_output=True, text=True, timeout=100
    )
    log = (place / "sshd.log").read_text() if (place / "sshd.log").exists() else ""
    assert done.returncode == 0, (done, log)

    def told(name: str) -> dict[str, object]:
        value: dict[str, object] = json.loads((place / name).read_text())
        return value

    made = told("init.json")
    home = "/var/lib/pachatest-server"
    assert (made["account"], made["made"]) == ("pachatest", True)
    assert made["authorized_keys"] == f"{home}/.ssh/authorized_keys"
    assert made["hosts"] == f"{home}/.local/state/pacha/hosts"
    assert 'account = "pachatest"' in (place / "etc/pacha/pacha.toml").read_text()
    assert (place / "passwd").read_text().strip().endswith(f":Pacha server:{home}:/bin/sh")
    assert (place / "shadow").read_text().split(":")[1] == "*"

    length, _, text = (place / "told").read_bytes().partition(b"\n")
    assert json.loads(text)["host"] == "web1" and len(text) == int(length)
    assert (
        "there is no shell here" in (place / "shell").read_text()
        or "refused" in (place / "shell").read_text()
    )
    assert "exit" in (place / "shell").read_text() and "uid=" not in (place / "shell").read_text()
    (host,) = told("list2.json")["hosts"]  # type: ignore[misc]
    assert host["host"] == "web1"
    # Both ends from here: root goes to the host, and what is written here is the account's.
    enrolled = told("enrol.json")
    assert (enrolled["ok"], enrolled["let_in"], enrolled["address"]) == (True, True, "hub"), (enrolled, done)
    assert [host["host"] for host in told("list3.json")["hosts"]] == ["web1", "web2"]  # type: ignore[attr-defined]
    key = (place / "host_key.pub").read_text().split()[1]
    assert key in (place / "web2/state/ssh/known_hosts").read_text(), "handed over, and pinned there"
    assert 'server = "hub"' in (place / "web2/pacha.toml").read_text()
    assert "there is no history of web1 here" in (place / "log").read_text()
    for line in (place / "tree").read_text().splitlines():
        owner, mode, path = line.split(" ", 2)
        assert owner == ("root" if path.startswith("/etc/pacha") else "pachatest"), line
        assert not int(mode, 8) & 0o022, line
    assert not Path(home).exists(), "the machine's own /var/lib is untouched"
    checks = {one["name"]: one["state"] for one in told("doctor.json")["checks"]}  # type: ignore[attr-defined]
    assert checks["forced command"] == checks["keys"] == checks["histories"] == "ok"
