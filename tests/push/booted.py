"""A machine that systemd has booted: a real Debian with a real systemd as its first process.

    with network(tmp_path) as net:
        web1 = net.add("web1", Booted)
        web1.run("systemctl", "status")

It has the namespaces of `tests/push/machine`, those for cgroups and IPC, too, and a group of its own below the
root of the unified hierarchy, which goes with it. What has no namespace (kernel settings, modules, the clock) it
cannot change.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from tests.push.fleet import deploy
from tests.push.machine import HELD, PATIENCE, Machine, Network
from tests.rebuild import debian

OLD = "old\n"  # what is deployed first, as /etc/motd
# The hierarchy is mounted for as long as it takes, and for nobody else.
_ENTER = """\
set -e
root=$1 group=$2; shift 2
mount --make-rprivate /
mount -t cgroup2 none "$root/mnt"
mkdir "$root/mnt/$group"
echo $$ > "$root/mnt/$group/cgroup.procs"
umount "$root/mnt"
exec unshare "$@"
"""
_LEAVE = """\
mount --make-rprivate /
mount -t cgroup2 none "$1/mnt"
[ ! -e "$1/mnt/$2" ] || find "$1/mnt/$2" -depth -type d -exec rmdir {} +
"""
_BOOT = """\
set -e
root=$1
mount --make-rprivate /
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount --bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,bind,ro "$root/proc/sys"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount -t tmpfs -o mode=755 none "$root/run"
mount -t tmpfs -o mode=755 none "$root/dev"
cd "$root/dev"
for name in null zero full random urandom tty; do touch $name; mount --bind /dev/$name $name; done
mkdir pts shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620,gid=5 devpts pts
ln -s pts/ptmx ptmx
ln -s /proc/self/fd fd
for number in 0 1 2; do ln -s fd/$number $number; done
mv 0 stdin; mv 1 stdout; mv 2 stderr
hostname "${root##*/}"
cd "$root"
pivot_root . mnt
umount -l /mnt
export container=test
exec chroot . setpriv --bounding-set -sys_time,-sys_module /lib/systemd/systemd --log-target=journal
"""


def why_not() -> str:
    """Why there can be no such machine here, empty where there can."""
    if reason := debian.why_not():
        return reason
    return "" if "\tcgroup2\n" in Path("/proc/filesystems").read_text() else "needs cgroup2"


class Booted(Machine):
    """One of them."""

    namespaces = (*Machine.namespaces, "--ipc", "--cgroup")

    def make_root(self, to: Path) -> Path:
        root = debian.copy(debian.bootable(), to)
        with (root / "etc/ssh/sshd_config").open("a") as file:
            file.write("UseDNS no\n")
        return root

    @property
    def _group(self) -> str:
        return f"pacha-test-{os.getpid()}-{self.name}"

    def booting(self) -> list[str]:
        inside = ["sh", "-c", _BOOT, "sh", str(self.root)]
        return ["unshare", "--mount", "sh", "-c", _ENTER, "sh", str(self.root), self._group,
                *self.namespaces, *HELD, *inside]  # fmt: skip

    def stop(self) -> None:
        """Cut its power, and wait until nothing of it runs."""
        super().stop()
        words = ["unshare", "--mount", "sh", "-c", _LEAVE, "sh", str(self.root), self._group]
        deadline = time.monotonic() + PATIENCE
        while (done := subprocess.run(words, capture_output=True, text=True)).returncode:
            assert time.monotonic() < deadline, done.stderr
            time.sleep(0.05)


@dataclass
class Scene:
    """A machine, and what is pushed to it."""

    place: Path
    net: Network
    web1: Booted

    @classmethod
    def on(cls, net: Network, place: Path) -> Scene:
        """A new machine, with Pacha and what is deployed first."""
        made = cls(place, net, net.add("web1", Booted))
        done = net.push(made.deploy({}), "web1", "--bootstrap")
        assert done.code == 0, done
        return made

    def clear(self) -> None:
        """Have it run with nothing under way, everything in the history, and nothing deployed but one file."""
        done = self.net.push(self.deploy({}), "web1", "--force")
        assert done.code == 0, done
        self.sh("pacha status")
        assert not self.journals()
        assert self.motd.read_text() == OLD

    @property
    def motd(self) -> Path:
        return self.web1.root / "etc/motd"

    def deploy(self, files: dict[str, str]) -> Path:
        """A new state of the one deployment that there is."""
        number = len(list(self.place.glob("d*")))
        return deploy(self.place / f"d{number}" / "site", {"files/etc/motd": OLD, **files})

    def sh(self, script: str) -> str:
        """Run as from its console; what it says."""
        done = self.web1.run("sh", "-c", script)
        assert done.returncode == 0, done
        return done.stdout

    def shows(self, unit: str, name: str) -> str:
        return self.sh(f"systemctl show --value -p {name} {unit}").strip()

    def journals(self) -> list[Path]:
        return list((self.web1.root / "var/lib/pacha/journal").iterdir())

    def waits(self) -> list[Path]:
        """Where the journals are of what is done, and waits to be confirmed."""
        found = (self.web1.root / "var/lib/pacha/journal").glob("*/state")
        said = {path.parent: json.loads(path.read_text()) for path in found}
        return [path for path, state in said.items() if state.get("deadline_ns") is not None]
