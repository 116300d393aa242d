"""Real Debian roots: made by debootstrap from the mirror that this machine's apt is configured for, and kept.

A root is made once and lies in the cache (`$XDG_CACHE_HOME/pacha-tests`); tests work on copies below their own
folder. Everything that runs in one runs in namespaces of its own, and no service is started.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests import needs

PACKAGES = ("nginx-light", "openssh-server", "cron", "sudo")
SERVED_BY = ("openssh-server", "python3", "init-system-helpers", "iproute2")
BOOTED_BY = ("systemd-sysv", "dbus", "libpam-systemd")
_BASE, _HOST, _MACHINE, _BOOTABLE = "debian-base-2", "debian-host-2", "debian-machine-1", "debian-bootable-1"
_TIME_LIMIT = 900
_ENTER = """
set -e
root=$1; shift
mount --make-rprivate /
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
exec chroot "$root" "$@"
"""


def why_not() -> str:
    """Why there can be no such root here, empty where there can; in CI there must be one."""
    if os.environ.get("CI"):
        return ""
    if not needs.AM_ROOT:
        return "needs root (debootstrap, namespaces)"
    missing = [tool for tool in ("debootstrap", "unshare", "apt-get") if shutil.which(tool) is None]
    return f"needs {', '.join(missing)}" if missing else ""


def inside(root: Path, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a command in a root, with /proc and /dev that nobody else sees; what it leaves running is killed."""
    argv = [
        "unshare",
        "--mount",
        "--pid",
        "--fork",
        "--kill-child=KILL",
        "sh",
        "-c",
        _ENTER,
        "sh",
        str(root),
        *words,
    ]
    environment = {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "LC_ALL": "C.UTF-8",
        "DEBIAN_FRONTEND": "noninteractive",
    }
    done = subprocess.run(
        argv, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_TIME_LIMIT
    )
    assert not check or done.returncode == 0, f"{words}: {done.stdout[-2000:]} {done.stderr[-2000:]}"
    return done


def copy(root: Path, to: Path) -> Path:
    """A root of a test's own."""
    subprocess.run(["cp", "-a", "--reflink=auto", str(root), str(to)], check=True)
    return to


def base() -> Path:
    """A fresh system, which is not to be changed."""
    with _kept(_BASE) as (place, is_there):
        if not is_there:
            uri, suite = _mirror()
            subprocess.run(
                ["debootstrap", "--variant=minbase", suite, str(place), uri],
                check=True, capture_output=True, timeout=_TIME_LIMIT,
            )  # fmt: skip
            lines = subprocess.run(["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE)"],
                                   check=True, capture_output=True, text=True).stdout.splitlines()  # fmt: skip
            found = sorted({line for line in lines if line.split()[1].startswith(suite)})
            (place / "etc/apt/sources.list").write_text("".join(f"deb {line} main\n" for line in found))
    return _cache() / _BASE


def host() -> Path:
    """A system with packages installed on purpose, which is not to be changed."""
    return _with(_HOST, ("acl", *PACKAGES))


def machine() -> Path:
    """A system that one can log in to, with Python and the archives of a package that it does not have; it is
    not to be changed.
    """
    return _with(_MACHINE, ("--no-install-recommends", *SERVED_BY), ("--download-only", "nginx-light"))


def bootable() -> Path:
    """The same with systemd, and without the archives; it is not to be changed."""
    return _with(_BOOTABLE, ("--no-install-recommends", *SERVED_BY, *BOOTED_BY))


def _with(name: str, *installations: tuple[str, ...]) -> Path:
    """A fresh system after these `apt-get install`, no service being started."""
    fresh = base()
    with _kept(name) as (place, is_there):
        if not is_there:
            copy(fresh, place)
            policy = place / "usr/sbin/policy-rc.d"
            policy.write_text("#!/bin/sh\nexit 101\n")
            policy.chmod(0o755)
            inside(place, "apt-get", "update", "-q")
            for words in installations:
                inside(place, "apt-get", "install", "-y", "-q", *words)
            policy.unlink()
    return _cache() / name


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pacha-tests"


@contextmanager
def _kept(name: str) -> Iterator[tuple[Path, bool]]:
    """(where to make it, whether it is there already); it is there for others once it is whole."""
    cache = _cache()
    cache.mkdir(parents=True, exist_ok=True)
    with open(cache / f"{name}.lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (cache / name).is_dir():
            yield cache / name, True
            return
        building = cache / f"{name}.new"
        shutil.rmtree(building, ignore_errors=True)
        yield building, False
        building.rename(cache / name)


def _mirror() -> tuple[str, str]:
    """(address, suite) of what this machine's apt gets Debian itself from."""
    argv = ["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(ORIGIN)", "Created-By: Packages"]
    suite = next(
        line.partition("=")[2]
        for line in Path("/etc/os-release").read_text().splitlines()
        if "CODENAME=" in line
    )
    said = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
    return next(line.split()[0] for line in said.splitlines() if line.split()[1:2] == [suite]), suite
