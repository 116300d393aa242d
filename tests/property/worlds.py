"""Small random trees, built on disk from a description, and a host that watches them."""

from __future__ import annotations

import os
import shutil
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from hypothesis import strategies as st
from tests.oracle.twin import clear_flags

from pacha.cli.session import Session
from pacha.ops.host import Host

BLOCK = 4096
NAMES = (b"a", b"b", b".hg", b"A", b"new\nline", b"\xff%", b"hg~1")
CONTENTS = (
    b"",
    b"x\n",
    b"other\n",
    b"\x01\n\0" * 50,
    bytes(8 * BLOCK),
    b"d" * BLOCK + bytes(4 * BLOCK) + b"e" * BLOCK,
)


class Node(NamedTuple):
    """One entry to build: `group` above 0 makes files of one number names of one file."""

    kind: str
    mode: int = 0o644
    content: bytes = b""
    group: int = 0
    mtime: int = 10**18
    xattr: bytes | None = None


Tree = dict[bytes, Node]

folders = st.sampled_from((0o755, 0o700, 0o1777, 0o2750, 0o500)).map(lambda mode: Node("dir", mode))
links = st.sampled_from((b"a", b"../..", b"/etc", b"\xff none")).map(
    lambda target: Node("symlink", content=target)
)
fifos = st.sampled_from((0o600, 0o622)).map(lambda mode: Node("fifo", mode))


@st.composite
def files(draw: st.DrawFn) -> Node:
    """A file. Its time comes with its content, as another time alone is no change."""
    content = draw(st.sampled_from(CONTENTS))
    mtime = -1_500_000_000 + CONTENTS.index(content) * (3 * 10**17 + 1)
    mode = draw(st.sampled_from((0o644, 0o600, 0o4755, 0o000, 0o444)))
    xattr = draw(st.sampled_from((None, b"", b"\0value")))
    return Node("file", mode, content, draw(st.integers(0, 2)), mtime, xattr)


leaves = st.one_of(files(), files(), links, fifos)


@st.composite
def trees(draw: st.DrawFn) -> Tree:
    """A tree of at most three levels, the top one a directory that stays one."""
    found: Tree = {b"": Node("dir", 0o755)}
    pending = [b""]
    while pending:
        parent = pending.pop()
        depth = parent.count(b"/")
        for name in draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=4 - depth)):
            node = draw(st.one_of(folders, leaves) if depth < 2 else leaves)
            path = parent + b"/" + name
            found[path] = node
            if node.kind == "dir":
                pending.append(path)
    return found


def build(top: Path, tree: Tree) -> None:
    """Make `top` this tree, whatever it was before."""
    if top.exists():
        clear_flags(top)
        shutil.rmtree(top)
    base = os.fsencode(top)
    first: dict[int, bytes] = {}
    for path, node in sorted(tree.items()):
        where = base + path
        if node.kind == "dir":
            os.mkdir(where)
        elif node.kind == "symlink":
            os.symlink(node.content, where)
        elif node.kind == "fifo":
            os.mkfifo(where)
        elif node.group and node.group in first:
            os.link(first[node.group], where)
            continue
        else:
            _write(where, node)
            first.setdefault(node.group, where)
        if node.kind in ("file", "fifo"):
            os.chmod(where, node.mode)
        if node.kind != "dir":
            os.utime(where, ns=(0, node.mtime), follow_symlinks=False)
    for path in sorted(tree, reverse=True):
        if tree[path].kind == "dir":
            os.chmod(base + path, tree[path].mode)


def _write(where: bytes, node: Node) -> None:
    with open(where, "xb") as handle:
        for start in range(0, len(node.content), BLOCK):
            block = node.content[start : start + BLOCK]
            handle.seek(start)
            if block.strip(b"\0"):
                handle.write(block)
        handle.truncate(len(node.content))
    if node.xattr is not None:
        os.setxattr(where, "user.note", node.xattr)


@contextmanager
def watching(place: Path) -> Iterator[tuple[Host, Path]]:
    """A host with a state of its own that watches `live` below `place`."""
    config = place / "pacha.toml"
    config.write_text(f'host = "h"\nauthor = "Jo"\nwatch = ["{place / "live"}"]\n')
    options = Namespace(
        config=str(config), state=str(place / "state"), json=True, quiet=True, verbose=False, author=None
    )
    session = Session(options, "rollback")
    try:
        yield session.host, place / "live"
    finally:
        session.close()
