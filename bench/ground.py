"""Fresh file systems to measure on, and their certain removal.

Called by `run` (once, for the whole run) and `cases` (one plot for each contestant). As root a plot is
an ext4 with a journal on a loop device: a file system on which others made and removed many files gives
wrong times. Elsewhere it is a fresh folder. Must not leave anything behind: the mounts live in a mount
namespace of this process alone and the images are unlinked as soon as they are mounted, so that even a
killed run leaves only an empty folder.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

_IN_NAMESPACE = "PACHA_BENCH_NAMESPACE"
_GB = 1 << 30


@dataclass(frozen=True)
class Plot:
    """The place of one contestant: its tree, its repository and its home, on one file system."""

    root: Path

    @property
    def tree(self) -> Path:
        return self.root / "tree"

    @property
    def home(self) -> Path:
        return self.root / "home"

    @property
    def scratch(self) -> Path:
        return self.root / "tmp"


class Ground:
    """Gives out plots below one temporary folder. `mounted` tells whether they are file systems."""

    def __init__(self, top: Path, mounted: bool) -> None:
        self.top = top
        self.mounted = mounted
        self._given = 0

    @contextmanager
    def plot(self, files: int) -> Iterator[Plot]:
        """A fresh place with room for a tree of so many files and its repository."""
        self._given += 1
        root = self.top / f"{self._given:04d}"
        root.mkdir()
        if self.mounted:
            _mount(root, _size_for(files))
        try:
            plot = Plot(root)
            plot.home.mkdir()
            plot.scratch.mkdir()
            yield plot
        finally:
            if self.mounted:
                _unmount(root)
                root.rmdir()
            else:
                shutil.rmtree(root, ignore_errors=True)


@contextmanager
def open_ground(work: Path) -> Iterator[Ground]:
    """The ground for one run, below the folder `work`; gone afterwards, also after a signal."""
    top = Path(tempfile.mkdtemp(prefix="pacha-bench-", dir=work))
    try:
        yield Ground(top, os.geteuid() == 0 and _mounting_works(top))
    finally:
        shutil.rmtree(top, ignore_errors=True)


def enter_namespace() -> None:
    """Start this program again in a mount namespace of its own, where that is possible.

    Returns if it is there already, or where it is not allowed to.
    """
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        return
    if os.environ.pop(_IN_NAMESPACE, ""):
        # An agent run by root listens below /run: for this run that is an empty folder of its own.
        own = ["mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", "/run"]
        subprocess.run(own, capture_output=True, check=False, env=_system_path())
        return
    shield = ["unshare", "--mount", "--propagation", "private"]
    if subprocess.run([*shield, "true"], capture_output=True, check=False).returncode == 0:
        os.environ[_IN_NAMESPACE] = "1"
        os.execvp(shield[0], [*shield, sys.executable, *sys.argv])


def end_cleanly_on_signals() -> None:
    """Make SIGTERM and SIGHUP unwind the stack, as Ctrl-C does, so that every plot is given back."""

    def leave(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGHUP, leave)


def _size_for(files: int) -> int:
    if files <= 2_000:
        return _GB
    return 3 * _GB if files <= 20_000 else 10 * _GB


def _mounting_works(top: Path) -> bool:
    probe = top / "probe"
    probe.mkdir()
    try:
        _mount(probe, _GB)
    except (OSError, subprocess.CalledProcessError):
        return False
    else:
        _unmount(probe)
        return True
    finally:
        probe.rmdir()


def _mount(where: Path, size: int) -> None:
    """Put a fresh ext4 on `where`. Nothing of its making is left for later, to disturb what is timed."""
    image = where.with_suffix(".img")
    try:
        with image.open("wb") as file:
            file.truncate(size)
        lazy = "nodiscard,lazy_itable_init=0,lazy_journal_init=0"
        make = ["mkfs.ext4", "-q", "-F", "-b", "4096", "-O", "has_journal", "-E", lazy]
        subprocess.run([*make, str(image)], check=True, capture_output=True, env=_system_path())
        mount = ["mount", "-t", "ext4", "-o", "loop", str(image), str(where)]
        subprocess.run(mount, check=True, capture_output=True, env=_system_path())
    finally:
        image.unlink(missing_ok=True)


def _unmount(where: Path) -> None:
    """Take the file system away; one that something still holds is detached and goes with its holder."""
    with _undisturbed():
        for options in ([], [], ["--lazy"]):
            ended = subprocess.run(
                ["umount", *options, str(where)], check=False, capture_output=True, env=_system_path()
            )
            if ended.returncode == 0:
                return
            time.sleep(0.5)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Hold signals back for the moment, so that a second Ctrl-C does not end the cleaning."""
    held = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, held)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _system_path() -> dict[str, str]:
    return {**os.environ, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}
