"""A small piece of configuration under Pacha, to be changed and rolled back while faults happen.

It is small so that hundreds of rounds fit; the awkward tree has its own scenario.
"""

from __future__ import annotations

import hashlib
import os
import random
import stat
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.command import Pacha, Result
from tests.faults.ledger import Ledger

FOLDERS, FILES = 5, 6
Facts = dict[str, tuple[object, ...]]


@dataclass
class World:
    """A watched tree, its Pacha, and the ledger of what Pacha acknowledged."""

    tree: Path
    pacha: Pacha
    ledger: Ledger
    random: random.Random = field(default_factory=lambda: random.Random(0))

    @classmethod
    def at(cls, place: Path, *, state: Path | None = None, seed: int = 0) -> World:
        """Build and watch a tree at `place`; `state` puts Pacha's state on another file system."""
        place.mkdir(parents=True, exist_ok=True)
        pacha = Pacha.at(state or place / "pacha")
        world = cls(place / "tree", pacha, Ledger(place / "ledger"), random.Random(seed))
        build(world.tree)
        result = pacha.run("watch", world.tree, "--json")
        assert result.code == 0, result
        assert world.ledger.note(result)
        return world

    def change(self) -> None:
        """Edit a few files as people do: in place, by rename, modes, new and removed ones."""
        for _ in range(self.random.randint(1, 3)):
            path = self.random.choice([path for path in sorted(self.tree.rglob("*")) if path.is_file()])
            kind = self.random.randrange(5)
            if kind == 0:
                path.chmod(self.random.choice((0o600, 0o644, 0o640, 0o755)))
            elif kind == 1:
                beside = path.with_name("beside")
                beside.write_bytes(self.random.randbytes(300))
                beside.rename(path)
            else:
                with open(path, "a") as file:
                    file.write(f"line {self.random.getrandbits(64)}\n")
        extra = self.tree / "d0" / "comes and goes"
        if extra.exists():
            extra.unlink()
        else:
            extra.write_text(f"{self.random.getrandbits(64)}\n")

    def leftovers(self) -> list[Path]:
        """Temporary files of Pacha that still lie about."""
        return [path for path in self.tree.rglob("*") if path.name.startswith(".pacha.")]

    def capture(self) -> Result:
        """A capture that must succeed, with no one's help."""
        result = self.pacha.run("capture", "--json")
        assert result.code == 0, result
        self.ledger.note(result)
        return result

    def recovers(self, *args: str | Path) -> None:
        """The next command, whichever it is, works and clears up."""
        result = self.pacha.run(*args, "--json")
        assert result.code == 0, (args, result)
        self.ledger.note(result)
        assert self.leftovers() == [], args


def build(tree: Path) -> None:
    """Five folders of six small files, with some modes, links and an empty folder."""
    for number in range(FOLDERS):
        folder = tree / f"d{number}"
        folder.mkdir(parents=True)
        for name in range(FILES):
            path = folder / f"file{name}.conf"
            path.write_text(f"key = {number} {name}\n" * 20)
            path.chmod((0o644, 0o600, 0o755)[name % 3])
        (folder / "link").symlink_to("file0.conf")
    (tree / "d1" / "hard").hardlink_to(tree / "d2" / "file1.conf")
    (tree / "empty").mkdir()


def other_state(tree: Path) -> None:
    """Turn the tree that `build` made into a second state, which differs from it in every way."""
    for number in range(FILES):
        (tree / "d0" / f"file{number}.conf").write_text(f"other {number}\n" * 40)
        (tree / "d1" / f"file{number}.conf").chmod(0o640)
    (tree / "d2" / "file0.conf").unlink()
    (tree / "d2" / "link").unlink()
    (tree / "d2" / "link").symlink_to("elsewhere")
    (tree / "d3" / "file0.conf").unlink()
    (tree / "d3" / "file0.conf").symlink_to("file1.conf")
    (tree / "d4" / "file0.conf").unlink()
    (tree / "d4" / "file0.conf").mkdir()
    (tree / "d4" / "file0.conf" / "inside").write_text("a folder now\n")
    (tree / "empty").rmdir()
    (tree / "empty").write_text("a file now\n")
    for number in range(4):
        (tree / "new" / f"sub{number}").mkdir(parents=True)
        (tree / "new" / f"sub{number}" / "file").write_text(f"new {number}\n")
    os.setxattr(tree / "d3" / "file2.conf", "user.other", b"yes")


def facts(tree: Path) -> Facts:
    """Everything about each entry that must be wholly old or wholly new; by path below the tree."""
    return {str(path.relative_to(tree)): _facts(path) for path in sorted(tree.rglob("*"))}


def _facts(path: Path) -> tuple[object, ...]:
    status = path.lstat()
    kind = stat.S_IFMT(status.st_mode)
    common = (kind, stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid)
    if kind == stat.S_IFDIR:
        return common
    xattrs = tuple(
        (key, os.getxattr(path, key, follow_symlinks=False))
        for key in sorted(os.listxattr(path, follow_symlinks=False))
    )
    content = os.readlink(path) if kind == stat.S_IFLNK else hashlib.sha256(path.read_bytes()).hexdigest()
    return (*common, status.st_mtime_ns, xattrs, content)


def half_done(old: Facts, new: Facts, live: Facts) -> list[str]:
    """Entries that are neither as in `old` nor as in `new`.

    A file may be missing only where one state has none, or where a folder takes its place or it a folder's:
    the kernel can't exchange those in one step without leaving the other one about.
    """
    wrong = []
    for path in sorted(old.keys() | new.keys() | live.keys()):
        was, shall, now = old.get(path), new.get(path), live.get(path)
        kinds = {entry[0] for entry in (was, shall) if entry}
        by_way_of_folder = stat.S_IFDIR in kinds and (now is None or now[0] == stat.S_IFDIR)
        if now in (was, shall) or by_way_of_folder:
            continue
        wrong.append(f"{path}: was {was}, shall be {shall}, is {now}")
    return wrong


def mean_seconds(pacha: Pacha, *args: str | Path, rounds: int = 3) -> float:
    """How long a command takes when nothing goes wrong: the span to spread faults over."""
    started = time.monotonic()
    for _ in range(rounds):
        pacha.run(*args)
    return (time.monotonic() - started) / rounds
