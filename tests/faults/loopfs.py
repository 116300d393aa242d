"""A small ext4 of its own in a file: to fill up, to make read-only, to cut the power of."""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# From <linux/fs.h> and fs/ext4/ext4.h: _IOR('X', 125, __u32). Without a log flush: what was not synced is gone.
EXT4_IOC_SHUTDOWN = 0x8004587D
EXT4_GOING_FLAGS_NOLOGFLUSH = 2
# The journal would otherwise commit every five seconds by itself, and save what nobody synced.
OPTIONS = "loop,commit=300"
PATIENCE = 120.0  # seconds: a mount namespace, such as a rebuild runs apt in, holds on to what is mounted
PAUSE = 0.01
MKFS = ("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", "-J", "size=4")


class LoopFs:
    """An ext4 with a journal, mounted at `at`."""

    def __init__(self, image: Path, at: Path, mebibytes: int) -> None:
        self.image = image
        self.at = at
        with open(image, "xb") as file:
            file.truncate(mebibytes << 20)
        subprocess.run([*MKFS, str(image)], check=True)
        at.mkdir()

    def mount(self, options: str = OPTIONS) -> None:
        """Mount; after a power cut this replays the journal."""
        subprocess.run(["mount", "-t", "ext4", "-o", options, str(self.image), str(self.at)], check=True)

    def unmount(self) -> None:
        """Unmount, waiting for dying processes to let go and for the loop device to be free again.

        A mount that came sooner would find the dead file system still in memory.
        """
        attached = ["losetup", "--noheadings", "--output", "NAME", "--associated", str(self.image)]
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            subprocess.run(["umount", "--quiet", str(self.at)], check=False, stderr=subprocess.DEVNULL)
            if not subprocess.run(attached, check=True, capture_output=True).stdout.strip():
                return
            time.sleep(PAUSE)
        raise RuntimeError(f"can't unmount {self.at}")

    def read_only(self, yes: bool) -> None:
        """Let nobody write, or let them again."""
        mode = "ro" if yes else "rw"
        subprocess.run(["mount", "-o", f"remount,{mode}", str(self.at)], check=True)

    def cut_power(self) -> None:
        """All that is not on the disk at this instant never will be; every further access fails."""
        opened = os.open(self.at, os.O_RDONLY)
        try:
            fcntl.ioctl(opened, EXT4_IOC_SHUTDOWN, struct.pack("I", EXT4_GOING_FLAGS_NOLOGFLUSH))
        finally:
            os.close(opened)

    def power_on(self) -> None:
        """Unmount what is dead, and mount anew as a boot would."""
        self.unmount()
        self.mount()

    def fill(self, leave: int = 0) -> Path:
        """Take up all space but for so many bytes, with one file that can be removed."""
        ballast = self.at / "ballast"
        with open(ballast, "ab") as file:
            try:
                while True:
                    file.write(bytes(4096))
                    file.flush()
            except OSError:
                os.truncate(ballast, max(0, os.path.getsize(ballast) - leave))
        return ballast


@contextmanager
def loop_fs(place: Path, mebibytes: int = 64, options: str = OPTIONS) -> Iterator[LoopFs]:
    """A mounted file system, unmounted again whatever happens."""
    disk = LoopFs(place / "image", place / "disk", mebibytes)
    disk.mount(options)
    try:
        yield disk
    finally:
        disk.unmount()
        disk.image.unlink()
