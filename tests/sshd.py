"""A real sshd of a test's own: on loopback, as the user who runs the test, with its own port, keys and files.

    with sshd(tmp_path / "sshd") as server:
        key = server.key("web1")
        server.authorize(key, f'restrict,command="{forced}"')
        subprocess.run([*server.ssh(key), "words", "for", "the", "server"])

Clients name the server `hub` and go through `server.command(key)`, an `ssh -F FILE` that reads nothing of the
user's own; a second alias for the same server is any other name that ends in `.hub`.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

PROGRAM = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") or "/usr/sbin/sshd"
PATIENCE = 20.0
# As root it insists on this empty folder of the machine's; where it is missing, it gets a /run of its own. There the
# disks of other tests, all but those at or below $0, must not stay mounted: who unmounts them waits until they are free.
SEPARATION = Path("/run/sshd")
PRIVATE_RUN = (
    *("unshare", "--mount", "--propagation", "slave", "sh", "-c"),
    """\
mount -t tmpfs -o mode=755 none /run && mkdir -m 755 /run/sshd || exit
grep '^/dev/loop' /proc/self/mounts | while read -r _ at _; do
    case "$at" in "$0" | "$0"/*) ;; *) umount "$at" ;; esac
done
exec "$@"
""",
    "nothing",  # in the place of $0
)
SETTINGS = """\
ListenAddress 127.0.0.1
Port {port}
HostKey {folder}/host_key
PidFile none
AuthorizedKeysFile {authorized_keys}
# pytest's folders lie below /tmp, which others may write to.
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
UseDNS no
MaxStartups 400
LogLevel VERBOSE
# bash reads ~/.bashrc for a command that sshd runs: what the developer has there takes time, and must not be killed.
SetEnv HOME={folder}
"""
# The default of today, which a quantum computer cannot undo, takes a tenth of a second at each connection.
QUICK = {"KexAlgorithms": "curve25519-sha256"}


def client_settings(names: str, **settings: object) -> str:
    """What a client's configuration says of a server, in ssh's own words: nothing of the user's counts."""
    own = {
        "IdentitiesOnly": "yes",
        "IdentityAgent": "none",
        "GlobalKnownHostsFile": "/dev/null",
        "StrictHostKeyChecking": "yes",
    }
    lines = (f"    {name} {value}\n" for name, value in {**own, **settings}.items())
    return f"Host {names}\n{''.join(lines)}"


@dataclass
class Sshd:
    """One server. `stop` and `start` may be called again and again; the port and the keys stay."""

    folder: Path
    authorized_keys: Path
    port: int
    options: Sequence[str] = ()
    user: str = field(default_factory=lambda: pwd.getpwuid(os.geteuid()).pw_name)
    process: subprocess.Popen[bytes] | None = None

    # -- the server ----------------------------------------------------------------------------------

    def start(self) -> None:
        """Start it, and wait until it listens; AssertionError with its words where it does not."""
        text = SETTINGS.format(port=self.port, folder=self.folder, authorized_keys=self.authorized_keys)
        # The first value of a setting is the one that counts.
        (self.folder / "sshd_config").write_text("\n".join([*self.options, text]))
        private = (*PRIVATE_RUN[:-1], str(self.folder.parent))
        wrapped = private if os.geteuid() == 0 and not SEPARATION.is_dir() else ()
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(
                [*wrapped, PROGRAM, "-D", "-e", "-f", str(self.folder / "sshd_config")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + PATIENCE
        while self.process.poll() is None and time.monotonic() < deadline:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=5) as link:
                if link.recv(4) == b"SSH-":
                    return
            time.sleep(0.02)
        self.stop()
        raise AssertionError(f"sshd does not listen: {self.said()[-2000:]}")

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End it and every open session: with SIGKILL nothing of it takes its leave."""
        if self.process is None:
            return
        sessions: set[int] = set()
        # A session may be about to make another process: look again.
        for _ in range(3):
            sessions.update(found := self.sessions())
            for pid in found:
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
            time.sleep(0.01)
        self.process.send_signal(number)
        self.process.wait(PATIENCE)
        deadline = time.monotonic() + PATIENCE
        while any(map(runs, sessions)) and time.monotonic() < deadline:
            time.sleep(0.01)
        for pid in filter(runs, sessions):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process = None

    def sessions(self) -> list[int]:
        """The processes of open sessions: sshd's own for each, and the commands that they run."""
        return descendants(self.process.pid) if self.process else []

    def said(self) -> str:
        """Its log so far."""
        return (self.folder / "log").read_text(errors="surrogateescape")

    # -- keys and clients ----------------------------------------------------------------------------

    def key(self, name: str) -> Path:
        """A client's private key, made when first asked for; the public one is beside it as `.pub`."""
        path = self.folder / f"key_{name}"
        if not path.exists():
            make_key(path)
        return path

    def authorize(self, key: Path, options: str = "") -> None:
        """Let a key in, with the options that stand before it in authorized_keys."""
        public = key.with_name(key.name + ".pub").read_text()
        with open(self.authorized_keys, "a", encoding="utf-8") as file:
            file.write(f"{options} {public}".lstrip())

    def client(self, key: Path) -> Path:
        """The configuration of a client that has this key and knows the server's host key."""
        path = self.folder / f"client_{key.name}"
        if not path.exists():  # another client may be reading it
            quiet = {"BatchMode": "yes", "LogLevel": "ERROR", **QUICK}
            path.write_text(self.settings("hub *.hub", IdentityFile=key, **quiet))
        return path

    def settings(self, names: str, **more: object) -> str:
        """What a client's configuration says of this server by some names; `more` is added or instead."""
        own = {
            "HostName": "127.0.0.1",
            "HostKeyAlias": "hub",
            "Port": self.port,
            "User": self.user,
            "UserKnownHostsFile": self.folder / "known_hosts",
        }
        return client_settings(names, **{**own, **more})

    def command(self, key: Path) -> str:
        """The command line that makes connections, for whatever takes one."""
        return f"ssh -F {self.client(key)}"

    def ssh(self, key: Path, *options: str) -> list[str]:
        """The words before a remote command."""
        return ["ssh", "-F", str(self.client(key)), *options, "hub"]


@contextmanager
def sshd(folder: Path, *options: str, authorized_keys: Path | None = None) -> Iterator[Sshd]:
    """A running server with its files in `folder`; `options` are lines for its configuration."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    make_key(folder / "host_key")
    public = (folder / "host_key.pub").read_text().split()
    (folder / "known_hosts").write_text(f"hub {public[0]} {public[1]}\n")
    keys = authorized_keys or folder / "authorized_keys"
    if authorized_keys is None:
        keys.touch(mode=0o600)
    server = Sshd(folder, keys, free_port(), options)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def make_key(path: Path) -> None:
    """An ed25519 key without a passphrase."""
    words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", path.name, "-f", str(path)]
    subprocess.run(words, check=True, stdin=subprocess.DEVNULL)


def free_port() -> int:
    """A port of loopback that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def descendants(pid: int) -> list[int]:
    """Every living process below this one, parents first."""
    children: dict[int, list[int]] = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError):
            children.setdefault(int(_status(name)[1]), []).append(int(name))
    found = list(children.get(pid, []))
    for one in found:
        found += children.get(one, [])
    return found


def runs(pid: int) -> bool:
    """Whether a process lives; one that has ended and was not waited for does not."""
    with suppress(OSError):
        return _status(str(pid))[0] != "Z"
    return False


def _status(pid: str) -> list[str]:
    """What /proc says of a process behind its name: its state, its parent …"""
    return Path("/proc", pid, "stat").read_text(errors="replace").rpartition(")")[2].split()
