"""A machine of its own: a real Debian in namespaces of its own, reached by its own sshd over its own network.

    with network(tmp_path) as net:
        web1 = net.machine("web1")
        net.push("webserver", "web1")

The network consists of namespaces too: one for whoever pushes, and one for each machine, joined by a pair of
virtual devices. Nothing of it exists outside, and all ends with the processes that hold it.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from tests.agents import until
from tests.command import Pacha, Result
from tests.rebuild import debian
from tests.sshd import client_settings, make_key

PATIENCE = 30.0
_PUSHER, _MACHINE = "10.77.{number}.1", "10.77.{number}.2"
ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}
HELD = ("--fork", "--kill-child=KILL")
_BOOT = """\
root=$1
mount --make-rprivate /
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -t tmpfs -o mode=755 none "$root/run"
exec chroot "$root" sh -c '
until ip link show eth0 2> /dev/null | grep -q ,UP; do sleep 0.02; done
service ssh start
[ ! -x /etc/init.d/net ] || service net start
! command -v pacha > /dev/null || pacha status > /dev/null
while :; do sleep 1000; done
'
"""


class Machine:
    """One of them, running."""

    namespaces = ("--net", "--mount", "--uts", "--pid")

    def __init__(self, place: Path, name: str, number: int) -> None:
        self.name = name
        self.number = number
        self.address = _MACHINE.format(number=number)
        self.root = self.make_root(place / name)
        self.log = open(place / f"{name}.log", "ab")  # noqa: SIM115 - closed with it
        self.process = self._start()

    def make_root(self, to: Path) -> Path:
        """What it consists of."""
        root = debian.copy(debian.machine(), to)
        (root / "etc/default/ssh").write_text('SSHD_OPTS="-o UsePAM=no -o UseDNS=no"\n')
        return root

    def booting(self) -> list[str]:
        """The words that start it: a process that holds its namespaces, and whose only child is its first."""
        return ["unshare", *self.namespaces, *HELD, "sh", "-c", _BOOT, "sh", str(self.root)]

    def _start(self) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            self.booting(), env=ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log
        )
        until(lambda: _has_own_network(process))
        return process

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command on it, as from its console."""
        pid = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()[0]
        inside = ["nsenter", "--target", pid, *self.namespaces, "--root", "--wd=/"]
        return subprocess.run([*inside, *words], env=ENVIRONMENT, capture_output=True, text=True, timeout=120)

    def start(self) -> None:
        """Switch it on again, once it was stopped."""
        self.process = self._start()

    def stop(self) -> None:
        """Cut its power."""
        self.process.kill()
        self.process.wait()


def _has_own_network(process: subprocess.Popen[bytes]) -> bool:
    """Whether it has left ours; AssertionError where it has ended."""
    assert process.poll() is None, "it did not start: see its log"
    return os.readlink(f"/proc/{process.pid}/ns/net") != os.readlink("/proc/self/ns/net")


_Kind = TypeVar("_Kind", bound=Machine)


class Network:
    """Machines, and who pushes."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._machines: list[Machine] = []
        self._holder = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
        self._key = place / "key"
        make_key(self._key)
        self._ssh = place / "ssh_config"
        self._ssh.touch()
        self.pusher = Pacha.at(place / "pusher")
        self.pusher.config.write_text(f'ssh = "ssh -F {self._ssh}"\n')

    def machine(self, name: str) -> Machine:
        """One more, which lets the pusher in."""
        return self.add(name, Machine)

    def add(self, name: str, kind: type[_Kind]) -> _Kind:
        """The same, of another kind."""
        number = len(self._machines) + 1
        made = kind(self._place, name, number)
        self._machines.append(made)
        keys = made.root / "root/.ssh/authorized_keys"
        keys.parent.mkdir(mode=0o700, exist_ok=True)
        keys.write_bytes(self._key.with_suffix(".pub").read_bytes())
        self.wire(made)
        settings = client_settings(
            name, HostName=made.address, User="root", IdentityFile=self._key, ConnectTimeout=10,
            UserKnownHostsFile=self._place / "known_hosts", StrictHostKeyChecking="accept-new",
        )  # fmt: skip
        with self._ssh.open("a") as file:
            file.write(settings)
        self._await(name)
        return made

    def reboot(self, machine: Machine) -> None:
        """Cut its power, and switch it on again."""
        machine.stop()
        machine.start()
        self.wire(machine)

    def push(self, *words: str | Path) -> Result:
        """Push, asking nothing."""
        return self.pusher.finish(self.begin_push(*words))

    def begin_push(self, *words: str | Path) -> subprocess.Popen[str]:
        """The same, not waiting for its end."""
        return self.pusher.start("push", *words, "-y", before=self._here())

    def get(self, url: str) -> str:
        """What a web server on the network says; empty where none answers."""
        words = (*self._here(), "curl", "-s", "-m", "5", url)
        return subprocess.run(words, capture_output=True, text=True).stdout

    def close(self) -> None:
        """End it all, with the connections that are kept."""
        for machine in self._machines:
            machine.stop()
            machine.log.close()
        self._holder.kill()
        self._holder.wait()

    def _here(self) -> tuple[str, ...]:
        return "nsenter", "--target", str(self._holder.pid), "--net"

    def wire(self, machine: Machine) -> None:
        number = machine.number
        device, ours, pid = f"m{number}", _PUSHER.format(number=number), str(machine.process.pid)
        here, there = self._here(), ("nsenter", "--target", pid, "--net")
        # The one to the machine before it was started again goes when the kernel has time for it.
        subprocess.run([*here, "ip", "link", "delete", device], capture_output=True)
        for where, words in (
            (here, f"link add {device} type veth peer name eth0 netns {pid}"),
            (here, f"address add {ours}/30 dev {device}"),
            (here, f"link set {device} up"),
            (there, f"address add {machine.address}/30 dev eth0"),
            (there, "link set lo up"),
            (there, "link set eth0 up"),
        ):
            subprocess.run([*where, "ip", *words.split()], check=True, capture_output=True)

    def _await(self, name: str) -> None:
        deadline = time.monotonic() + PATIENCE
        words = (*self._here(), "ssh", "-F", str(self._ssh), "-o", "BatchMode=yes", name, "true")
        while (done := subprocess.run(words, capture_output=True, text=True)).returncode:
            assert time.monotonic() < deadline, done.stderr
            time.sleep(0.1)


@contextmanager
def network(place: Path) -> Iterator[Network]:
    """A network with no machine on it."""
    made = Network(place)
    try:
        yield made
    finally:
        with suppress(ProcessLookupError):
            made.close()
