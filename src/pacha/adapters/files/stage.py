"""A folder of files for the moment, inside a root: hooks that have no place of their own yet.

Called by `adapters/packages/system`. It lies in the root's /run under a name of Pacha's temporary files, so
that nobody captures it, and is made and removed beneath the root with no link followed.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping

from pacha.adapters.files.tree import Directory, Tree
from pacha.core.entry import DIRECTORY, FILE, Entry
from pacha.core.names import join, split
from pacha.core.rules import is_temporary

_PLACE = b"/run"
_FOLDER = Entry(DIRECTORY, 0o755, 0, b"root", 0, b"root")
_PROGRAM = Entry(FILE, 0o755, 0, b"root", 0, b"root")


def stage(tree: Tree, files: Mapping[bytes, bytes]) -> bytes:
    """Make a folder with these files (`moment/name`), executable for all; its path as the root has it."""
    unstage(tree)
    place = _PLACE if tree.is_directory(_PLACE) else b"/"
    with tree.directory(place) as directory:
        top = join(place, tree.workbench(directory).make(_FOLDER, None))
    for folder in {split(b"/" + name)[0] for name in files} - {b"/"}:
        _put(tree, top + folder, _FOLDER, None)
    for name, data in files.items():
        _put(tree, top + b"/" + name, _PROGRAM, data)
    return top


def _put(tree: Tree, path: bytes, entry: Entry, data: bytes | None) -> None:
    parent, name = split(path)
    with tree.directory(parent) as directory:
        bench = tree.workbench(directory)
        bench.place(bench.make(entry, data), name)


def unstage(tree: Tree) -> None:
    """Remove such folders, those of a killed Pacha too."""
    for place in (_PLACE, b"/"):
        if tree.is_directory(place):
            with tree.directory(place) as directory:
                for name, status in directory.entries():
                    if is_temporary(name) and stat.S_ISDIR(status.st_mode):
                        _remove(directory, name)


def _remove(directory: Directory, name: bytes) -> None:
    with directory.child(name) as inner:
        for entry, status in inner.entries():
            if stat.S_ISDIR(status.st_mode):
                _remove(inner, entry)
            else:
                os.unlink(entry, dir_fd=inner.descriptor)
    os.rmdir(name, dir_fd=directory.descriptor)
