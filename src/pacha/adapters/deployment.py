"""Reads the directory of a deployment: `pacha.toml`, `files/`, `templates/`, `hooks/`.

Called by `push`, before the first connection, by `sign`, and by a server that a host pulls from. Everything
is read beneath the directory, no link is followed, and nothing but files is opened: a deployment may come
from somebody else. What is read is checked by `core/deployment`; here only what cannot be read, or would be
too much, is refused. What was signed of a deployment lies beside these, and is no part of it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from difflib import get_close_matches

from pacha.adapters.account import current
from pacha.adapters.files.read import kind_of
from pacha.adapters.files.tree import ABSENT, Directory, Tree
from pacha.core.deployment import (
    FILES,
    HOOKS,
    PARTS,
    SIGNATURE_FILE,
    STATEMENT_FILE,
    TEMPLATES,
    Source,
    Sources,
)
from pacha.core.deployment_file import FILE_NAME
from pacha.core.entry import DIRECTORY, FILE, SYMLINK
from pacha.core.errors import ConfigError, UsageError
from pacha.core.names import join
from pacha.core.parcel_line import (
    CONTENTS_AT_MOST,
    FILE_AT_MOST,
    ITEMS_AT_MOST,
    SIGNATURE_AT_MOST,
    STATEMENT_AT_MOST,
)
from pacha.core.patterns import Ignore
from pacha.core.quantities import format_size
from pacha.core.shown import shown
from pacha.core.tracked import Vanished

_ALIKE = 0.75  # of a directory's name and one of ours, to think that it was meant


def read_signed(folder: str) -> tuple[bytes, bytes]:
    """What was signed of it, and the signature, as they lie in its directory; both empty where neither is
    there. ConfigError where there is one without the other, or they cannot be read.
    """
    statement, signature = (
        _beside(folder, name, most)
        for name, most in ((STATEMENT_FILE, STATEMENT_AT_MOST), (SIGNATURE_FILE, SIGNATURE_AT_MOST))
    )
    if bool(statement) != bool(signature):
        lacks = SIGNATURE_FILE if statement else STATEMENT_FILE
        raise ConfigError(f"{folder}/{lacks}: is missing, or empty", hint=f"pacha sign {folder}, again")
    return statement, signature


def _beside(folder: str, name: str, at_most: int) -> bytes:
    with Tree(os.fsencode(os.path.realpath(folder))).directory(b"/") as top:
        status = top.lstat(os.fsencode(name))
        if status is None:
            return b""
        is_file = stat.S_ISREG(status.st_mode)
        try:
            data = top.read(os.fsencode(name), status, at_most).data if is_file else None
        except (OSError, Vanished):
            data = None
    if data is None:
        most = format_size(at_most)
        raise ConfigError(f"{folder}/{name}: cannot be read, or is no file of at most {most}")
    return data


def read_deployment(folder: str, name: str = "") -> Sources:
    """All of it. UsageError where there is none, ConfigError where it cannot be read, or holds what no
    deployment may. With a `name`, that is what it is called, and shown as, wherever the folder leads.
    """
    path = os.path.realpath(folder)
    if not os.path.isdir(path):
        hint = "a deployment is a directory with pacha.toml, files/, templates/ and hooks/, or some of them"
        raise UsageError(f"there is no deployment {folder}", hint=hint)
    return _Reader(path, name or folder.rstrip("/") or folder, name or os.path.basename(path)).read()


class _Reader:
    """One deployment being read; `shown_as` is the directory as the person named it."""

    def __init__(self, path: str, shown_as: str, name: str) -> None:
        self._tree = Tree(os.fsencode(path))
        self._shown_as = shown_as
        self._name = name
        self._ignore = Ignore(())
        self._files = 0
        self._bytes = 0

    def read(self) -> Sources:
        with self._tree.directory(b"/") as top:
            self._check_names(top.names())
            status = top.lstat(os.fsencode(FILE_NAME))
            settings = self._text(top, status) if status is not None else ""
        files, templates, hooks = (tuple(self._part(part)) for part in (FILES, TEMPLATES, HOOKS))
        return Sources(self._name, self._where(FILE_NAME.encode()), settings, files, templates, hooks)

    def _check_names(self, names: list[bytes]) -> None:
        """A part that is called almost as it should be would be left out without a word."""
        for name in map(os.fsdecode, names):
            near = get_close_matches(name, PARTS, 1, _ALIKE)
            if near and near[0] not in map(os.fsdecode, names):
                raise ConfigError(f"{self._where(os.fsencode(name))}: is it meant to be {near[0]}?")
        if not {*PARTS, FILE_NAME} & set(map(os.fsdecode, names)):
            hint = f"it has a {FILE_NAME}, or files/, templates/ or hooks/"
            raise UsageError(f"{self._shown_as} is no deployment", hint=hint)

    def _text(self, top: Directory, status: os.stat_result) -> str:
        source = self._source(top, os.fsencode(FILE_NAME), status, b"/")
        if source.kind != FILE:
            raise ConfigError(f"{source.where}: is no file")
        try:
            return source.data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = source.data.count(b"\n", 0, error.start) + 1
            raise ConfigError(f"{source.where}:{line}: is not UTF-8, which TOML must be") from error

    def _part(self, part: str) -> Iterator[Source]:
        """The entries of one of the directories, in order; none where it is not there."""
        root = b"/" + part.encode()
        try:
            with self._tree.directory(root) as directory:
                yield from self._below(directory, root)
        except OSError as problem:
            if problem.errno not in ABSENT or self._tree.lstat(root) is not None:
                raise self._unreadable(root, problem) from problem

    def _below(self, directory: Directory, root: bytes) -> Iterator[Source]:
        for name, status in directory.entries():
            path = join(directory.path, name)
            if self._ignore.matches_entry(directory.path, name, stat.S_ISDIR(status.st_mode)):
                continue  # what an editor left lying about
            yield self._source(directory, name, status, root)
            if stat.S_ISDIR(status.st_mode):
                try:
                    with directory.child(name) as child:
                        yield from self._below(child, root)
                except (OSError, Vanished) as problem:
                    raise self._unreadable(path, problem) from problem

    def _source(self, directory: Directory, name: bytes, status: os.stat_result, root: bytes) -> Source:
        path = join(directory.path, name)
        where = self._where(path[1:])
        kind = kind_of(status)
        if kind not in (FILE, DIRECTORY, SYMLINK):
            hint = "a deployment holds files, directories and symbolic links"
            raise ConfigError(f"{where}: is a {kind.decode()}, which is not delivered", hint=hint)
        self._count(where, status.st_size if kind == FILE else 0)
        data = target = b""
        if kind != DIRECTORY:
            try:
                reading = directory.read(name, status, FILE_AT_MOST)
            except (OSError, Vanished) as problem:
                raise self._unreadable(path, problem) from problem
            if reading.entry.unstable:
                raise ConfigError(f"{where}: kept changing while it was read", hint="try again")
            data, target = reading.data or b"", reading.entry.target or b""
        delivered = path if root == b"/" else path.removeprefix(root)
        return Source(delivered, where, kind, stat.S_IMODE(status.st_mode), data, target)

    def _count(self, where: str, size: int) -> None:
        """Refuse what is too large before it is read."""
        self._files += 1
        self._bytes += size
        if size > FILE_AT_MOST:
            raise ConfigError(f"{where}: is {format_size(size)}, and {format_size(FILE_AT_MOST)} is the most")
        if self._bytes > CONTENTS_AT_MOST or self._files > ITEMS_AT_MOST:
            most = f"{ITEMS_AT_MOST:,} files of together {format_size(CONTENTS_AT_MOST)}"
            raise ConfigError(f"{self._shown_as}: holds more than {most}, which is the most")

    def _unreadable(self, path: bytes, problem: Exception) -> ConfigError:
        words = problem.strerror if isinstance(problem, OSError) else "it went while it was read"
        hint = f"let {current().name} read it" if isinstance(problem, PermissionError) else ""
        return ConfigError(f"{self._where(path[1:])}: cannot be read: {words}", hint=hint)

    def _where(self, path: bytes) -> str:
        return f"{self._shown_as}/{shown(path)}"
