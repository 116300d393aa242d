"""The trees that are measured: configuration-like files, the same for everybody.

Called by `cases`. Everything follows from the seed and the number of files, so every contestant gets
the same bytes under the same names. Must not know who is measured, nor touch anything outside the
folder that it is given.
"""

import hashlib
import os
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import log
from pathlib import Path
from stat import S_ISREG

SEED = 20_240_229
FILES_A_DIRECTORY = 20
DEEPEST = 5
SMALLEST, LARGEST = 100, 64 * 1024  # bytes; sizes are evenly spread on a logarithmic scale
OLD = 1_600_000_000  # files look long untouched, so that nobody has to distrust their mtimes

_WORDS = """
    access alias allow auth backend bind cache cert client cluster connect daemon default deny domain
    driver enable export filter forward group handler header host include index interval journal key
    level limit listen local log mail map max memory min mode module network option owner password path
    peer plugin policy pool port prefix priority proxy query queue rate realm relay replica resolver
    retry root route rule scope secret server service session size socket source spool status storage
    stream syslog table target thread timeout tls token transport upstream user verify virtual watch
    worker zone
""".split()
_ENDINGS = (".conf", ".conf", ".conf", ".cfg", ".ini", ".yaml", ".rules", ".list", ".service", "")


@lru_cache(maxsize=4)
def names(count: int) -> tuple[str, ...]:
    """The relative paths of a tree of `count` files: about 20 in a directory, at most five deep."""
    rng = random.Random(f"{SEED} names {count}")
    folders = [""]
    while len(folders) < max(1, count // FILES_A_DIRECTORY):
        parent = rng.choice(folders)
        if parent.count("/") < DEEPEST:
            folders.append(f"{parent}{rng.choice(_WORDS)}{len(folders)}{rng.choice(('', '.d'))}/")
    return tuple(
        f"{rng.choice(folders)}{rng.choice(_WORDS)}-{rng.choice(_WORDS)}{number}{rng.choice(_ENDINGS)}"
        for number in range(count)
    )


def grow(top: Path, count: int) -> None:
    """Write the tree of `count` files below `top`, which must not exist yet."""
    rng = random.Random(f"{SEED} content {count}")
    pool = [_line(rng) for _ in range(4_000)]
    top.mkdir(mode=0o755)
    known = {top}
    for number, name in enumerate(names(count)):
        path = top / name
        if path.parent not in known:
            path.parent.mkdir(parents=True, exist_ok=True)
            known.add(path.parent)
        path.write_bytes(_content(rng, pool, name))
        path.chmod(rng.choices((0o644, 0o640, 0o600, 0o755), (80, 8, 7, 5))[0])
        os.utime(path, (OLD + number, OLD + number))


def edit(path: Path, turn: int) -> None:
    """Change one line in the middle of the file; the turn makes every edit a new one."""
    path.write_bytes(edited(path, turn))


def edited(path: Path, turn: int) -> bytes:
    """The file's content as `edit` makes it."""
    lines = path.read_bytes().splitlines(keepends=True)
    rng = random.Random(f"{SEED} edit {turn}")
    lines[len(lines) // 2] = f"# turn {turn}: {_line(rng)}".encode()
    return b"".join(lines)


def picks(count: int, how_many: int) -> list[str]:
    """The files to edit one after the other, in a tree of `count` files."""
    rng = random.Random(f"{SEED} picks {count}")
    return [rng.choice(names(count)) for _ in range(how_many)]


def wreck(top: Path, files: Sequence[str]) -> None:
    """Damage every file: the first is deleted, the second overwritten, and so on."""
    for number, name in enumerate(files):
        path = top / name
        if number % 2 == 0:
            path.unlink()
        else:
            path.write_bytes(b"# wrecked\n" + path.read_bytes()[::-1])
            path.chmod(0o666)


def fingerprint(top: Path, files: Sequence[str], modes: bool = True) -> str:
    """A digest of names, modes if they count, and content; a missing file counts as such."""
    digest = hashlib.sha256()
    for name in files:
        path = top / name
        digest.update(name.encode() + b"\0")
        try:
            mode, content = path.stat().st_mode, path.read_bytes()
        except FileNotFoundError:
            digest.update(b"missing")
        else:
            digest.update(f"{mode if modes else 0:o} {len(content)} ".encode() + content)
    return digest.hexdigest()


@dataclass(frozen=True)
class Space:
    """Bytes of everything below a folder: as `du` counts the disk, and as the files' sizes add up."""

    disk: int
    content: int


def space(top: Path) -> Space:
    """Count what lies below `top`; nothing where it does not exist."""
    os.sync()  # what is not allocated yet would not count
    disk, content = {}, {}
    for folder, _, files in os.walk(top):
        for path in (folder, *(os.path.join(folder, name) for name in files)):
            status = os.lstat(path)
            disk[status.st_ino] = status.st_blocks * 512
            content[status.st_ino] = status.st_size if S_ISREG(status.st_mode) else 0
    return Space(sum(disk.values()), sum(content.values()))


def _content(rng: random.Random, pool: list[str], name: str) -> bytes:
    """A file of a size between SMALLEST and LARGEST, with a few lines that no other file has."""
    size = int(SMALLEST * (LARGEST / SMALLEST) ** rng.random())
    head = f"# {name}\n{_line(rng)}{_line(rng)}"
    need = max(0, size - len(head))
    average = 30
    body = "".join(rng.choices(pool, k=need // average + 1))
    while len(body) < need:
        body += "".join(rng.choices(pool, k=max(1, int(log(need + 2)))))
    return (head + body)[:size].encode()


def _line(rng: random.Random) -> str:
    """One line as it stands in a configuration file, with its line end."""
    kind = rng.randrange(10)
    if kind == 0:
        return f"# {' '.join(rng.choices(_WORDS, k=rng.randrange(3, 9)))}\n"
    if kind == 1:
        return f"[{rng.choice(_WORDS)}.{rng.choice(_WORDS)}]\n"
    if kind == 2:
        return "\n"
    key = "_".join(rng.choices(_WORDS, k=rng.randrange(1, 4)))
    value = rng.choice(
        (
            str(rng.randrange(65_536)),
            f"10.{rng.randrange(256)}.{rng.randrange(256)}.{rng.randrange(256)}",
            f"/var/lib/{rng.choice(_WORDS)}/{rng.choice(_WORDS)}",
            rng.choice(("yes", "no", "auto")),
            f"{rng.getrandbits(64):016x}",
        )
    )
    return f"{key} = {value}\n"
