"""A machine that systemd has booted: a real Debian with a real systemd as its first process.

    with network(tmp_path) as net:
        web1 = net.add("web1", Booted)
        web1.run("systemctl", "status")

It has the namespaces of `tests/push/machine`, those for cgroups and IPC, too, and a group of its own below the
root of the unified hierarchy, which goes with it. What has no namespace (kernel settings, modules, the clock) it
cannot change.
"""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

from tests.push.machine import HELD, PATIENCE, Machine
from tests.rebuild import debian

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
