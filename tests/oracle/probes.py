"""What the system's own tools say of a tree, one function a tool, as `{path: facts}`.

Paths and facts are bytes relative to the tree, in whatever form the tool writes them: both sides of a
comparison come from the same tool. Names hold newlines and invalid UTF-8, so records are cut at NUL where
the tool can write it, and otherwise matched against names that are known already.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

Facts = dict[bytes, bytes]

# Flags the file system sets for itself: extents, hashed directory, inline data, and the like.
_OWN_FLAGS = re.compile(rb"[eIEhNVF-]")
_SIZE = re.compile(rb"size=(\d+) blocks=(\d+) ")
_BATCH = 500
_ENV = {"PATH": os.environ["PATH"], "LC_ALL": "C", "TZ": "UTC"}


def run(tree: Path, *argv: str | bytes, partly: int = 0) -> bytes:
    """What a tool run inside `tree` says; raise RuntimeError with its words where it fails.

    With the exit code `partly` it did what it could, and its complaints are part of what it says.
    """
    done = subprocess.run(argv, cwd=tree, env=_ENV, stdin=subprocess.DEVNULL, capture_output=True)
    if done.returncode == 0:
        return done.stdout
    if done.returncode == partly:
        return done.stdout + done.stderr
    said = done.stderr.decode(errors="replace").strip()
    raise RuntimeError(f"{argv[0]!r} in {tree} ended with {done.returncode}: {said}")


def names(tree: Path, kinds: str) -> list[bytes]:
    """Paths of the entries of the given kinds (`f`, `d`, …, as `find -type` has them), each as `./…`."""
    found = run(tree, "find", ".", "-type", ",".join(kinds), "-print0")
    return sorted(found.split(b"\0")[:-1])


def stats(tree: Path) -> Facts:
    """Kind, mode, owners; and but for directories: size, blocks, mtime to the nanosecond, links, target.

    A directory's own size, time and link count depend on its past, and are no part of what is kept. Nor is a
    block that ext4 adds to a file without holes, to note where its many pieces are.
    """
    short, full = r"%P\0%y %m %U %G\0", r"%P\0%y %m %U %G size=%s blocks=%b mtime=%T@ links=%n -> %l\0"
    found = run(tree, "find", ".", "(", "-type", "d", "-printf", short, ")", "-o", "-printf", full)
    fields = found.split(b"\0")[:-1]
    told = [_SIZE.sub(_without_holes, value) for value in fields[1::2]]
    return dict(zip(fields[::2], told, strict=True))


def _without_holes(found: re.Match[bytes]) -> bytes:
    size, blocks = map(int, found.groups())
    return found[0] if blocks * 512 < size else b"size=%d " % size


def link_groups(tree: Path) -> Facts:
    """For each path of a hard-link group its first member: which names are one file."""
    found = run(tree, "find", ".", "!", "-type", "d", "-links", "+1", "-printf", r"%D:%i\0%P\0")
    fields = found.split(b"\0")[:-1]
    groups: dict[bytes, list[bytes]] = {}
    for inode, path in zip(fields[::2], fields[1::2], strict=True):
        groups.setdefault(inode, []).append(path)
    return {path: b"one with " + min(paths) for paths in groups.values() for path in paths}


def device_numbers(tree: Path) -> Facts:
    """Major and minor number of each device (find can't print them, stat can)."""
    found: Facts = {}
    for batch in _batches(names(tree, "bc")):
        numbers = run(tree, "stat", "--printf", r"%t:%T\0", "--", *batch).split(b"\0")[:-1]
        found.update(zip(batch, numbers, strict=True))
    return found


def digests(tree: Path) -> Facts:
    """SHA-256 of every regular file."""
    found: Facts = {}
    for batch in _batches(names(tree, "f")):
        for line in run(tree, "sha256sum", "-z", "--", *batch).split(b"\0")[:-1]:
            digest, path = line.split(b"  ", 1)
            found[path] = digest
    return found


def acls(tree: Path) -> Facts:
    """Access and default ACLs with numeric owners (getfacl skips symlinks, which have none)."""
    return _blocks(run(tree, "getfacl", "-R", "-P", "-n", "--", "."))


def xattrs(tree: Path) -> Facts:
    """All extended attributes that this user may read, symlinks' own included."""
    return _blocks(run(tree, "getfattr", "-R", "-P", "-h", "-d", "-m", "-", "-e", "hex", "--", "."))


def flags(tree: Path) -> Facts:
    """Inode flags of files and directories, without those that the file system sets for itself."""
    found: Facts = {}
    for batch in _batches(names(tree, "fd")):
        text = run(tree, "lsattr", "-d", "--", *batch)
        for path in batch:
            letters, text = text.split(b" ", 1)
            if not text.startswith(path + b"\n"):
                raise RuntimeError(f"lsattr answered out of order at {path!r}")
            text = text[len(path) + 1 :]
            found[path] = _OWN_FLAGS.sub(b"", letters)
    return found


def _batches(paths: list[bytes]) -> Iterator[list[bytes]]:
    for start in range(0, len(paths), _BATCH):
        yield paths[start : start + _BATCH]


def _blocks(text: bytes) -> Facts:
    """Cut `# file: NAME` blocks apart; these tools write control bytes in names as octal escapes."""
    found: Facts = {}
    for block in text.split(b"\n\n"):
        head, _, body = block.strip(b"\n").partition(b"\n")
        if head:
            found[head.removeprefix(b"# file: ")] = b" ".join(sorted(body.split(b"\n")))
    return found
