"""A storm below a watch: processes that create, change, rename, chmod and remove entries at random.

Run by the tests as a program, several at once on one tree: `churn.py TREE SECONDS SEED FILES PAUSE`. Every
content is another one, so that the time of a file never changes without its content. Errors are what happens
when eight do this to one tree.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PROCESSES = 8
BURST = 40


class Churn:
    """One of the processes."""

    def __init__(self, tree: str, seed: int, files: int) -> None:
        self.tree = tree
        self.seed = seed
        self.left = files  # to be made, as fast as may be
        self.count = 0
        self.random = random.Random(seed)

    def step(self) -> None:
        """One thing, at random."""
        if self.left > 0 and self.random.random() < 0.5:
            folder = self.new_name(self.folder(), "burst")
            os.mkdir(folder)
            for _ in range(min(BURST, self.left)):
                self.write(self.new_name(folder), "xb")
                self.left -= 1
            return
        acts = [self.create] * 3 + [self.modify] * 6 + [self.replace] * 4 + [self.move] * 3 + [self.chmod] * 4
        acts += [self.remove] * 3 + [self.make_folder] * 2 + [self.move_folder, self.remove_folder, self.link]
        self.random.choice(acts)()

    def create(self) -> None:
        self.write(self.new_name(self.folder()), "xb")

    def modify(self) -> None:
        self.write(self.file(), self.random.choice(("ab", "r+b", "wb")))

    def replace(self) -> None:
        path = self.file()
        beside = self.new_name(os.path.dirname(path), "beside")
        self.write(beside, "xb")
        os.rename(beside, path)

    def move(self) -> None:
        os.rename(self.file(), self.new_name(self.folder()))

    def chmod(self) -> None:
        os.chmod(self.file(), self.random.choice((0o600, 0o640, 0o644, 0o755)))

    def remove(self) -> None:
        os.unlink(self.file())

    def make_folder(self) -> None:
        os.makedirs(os.path.join(self.new_name(self.folder(), "dir"), "below"))

    def move_folder(self) -> None:
        os.rename(self.folder(), self.new_name(self.folder(), "dir"))

    def remove_folder(self) -> None:
        folder = self.folder()
        if folder != self.tree and "burst" not in folder:
            shutil.rmtree(folder)

    def link(self) -> None:
        os.symlink(f"nowhere {self.count}", self.new_name(self.folder(), "link"))

    def write(self, path: str, mode: str) -> None:
        """Content that was never there before."""
        with open(path, mode) as file:
            file.write(
                b"%d %d\n" % (self.seed, self.count) + self.random.randbytes(self.random.randrange(1500))
            )
        self.count += 1

    def new_name(self, folder: str, kind: str = "file") -> str:
        """A name that no other process takes."""
        self.count += 1
        return os.path.join(folder, f"{kind}-{self.seed}-{self.count}")

    def folder(self) -> str:
        """Some directory of the tree, by a random walk."""
        at = self.tree
        while self.random.random() < 0.6:
            below = [entry.name for entry in os.scandir(at) if entry.is_dir(follow_symlinks=False)]
            if not below or at.count("/") > self.tree.count("/") + 8:
                break
            at = os.path.join(at, self.random.choice(below))
        return at

    def file(self) -> str:
        """Some file."""
        folder = self.folder()
        found = [entry.path for entry in os.scandir(folder) if entry.is_file(follow_symlinks=False)]
        return self.random.choice(found) if found else self.new_name(folder)


def main(tree: str, seconds: str, seed: str, files: str, pause: str) -> None:
    """Until the time is over."""
    churn = Churn(tree, int(seed), int(files))
    until = time.monotonic() + float(seconds)
    while time.monotonic() < until:
        with suppress(OSError):
            churn.step()
        time.sleep(float(pause))


@contextmanager
def storm(
    tree: Path,
    seconds: float,
    *,
    files: int = 0,
    processes: int = PROCESSES,
    seed: int = 0,
    pause: float = 0.0,
) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Rage in the background; at the end of the block all is quiet, and `files` have been made altogether."""
    argv = [sys.executable, __file__, str(tree), str(seconds)]
    started = [
        subprocess.Popen([*argv, str(seed * processes + number), str(files // processes), str(pause)])
        for number in range(processes)
    ]
    try:
        yield started
        for process in started:
            assert process.wait(seconds + 60) == 0
    finally:
        for process in started:
            if process.poll() is None:
                process.kill()
                process.wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
