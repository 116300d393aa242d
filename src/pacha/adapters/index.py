"""The index: an SQLite file beside the store with what each entry looked like when it was last captured.

Called by the operations. It is a cache: whatever is in it can be had again from the store and one rescan, so
a file that is damaged or of another format is thrown away. A row is one metadata line, keyed by the directory
whose `%meta` it stands in and its name (`.` for the directory itself), with the stat signature under which it
was read; an empty signature means "read again". It must not decide what has changed.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from pacha.core.errors import Busy, Failed, NoSpace, ReadOnly
from pacha.core.line import Acknowledged
from pacha.core.normalize import Normal
from pacha.core.tracked import Row

FORMAT = "2"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS entries (
    directory BLOB NOT NULL, name BLOB NOT NULL, signature BLOB NOT NULL, inode BLOB, line BLOB NOT NULL,
    PRIMARY KEY (directory, name)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS links ON entries (inode) WHERE inode IS NOT NULL;
CREATE TABLE IF NOT EXISTS paces (path BLOB PRIMARY KEY, pace TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS skipped (path BLOB PRIMARY KEY, reason TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS normals (
    path BLOB PRIMARY KEY, sha256 BLOB NOT NULL, rules BLOB NOT NULL, digest BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS servers (
    address TEXT PRIMARY KEY, node TEXT NOT NULL, seq INTEGER NOT NULL, time_ns INTEGER NOT NULL,
    since_ns INTEGER, error TEXT NOT NULL, used INTEGER NOT NULL, quota INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS state (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
"""
# SQLite's names of what is wrong around a sound file; anything else is wrong with the file.
_NOT_DAMAGE = (
    "SQLITE_FULL",
    "SQLITE_READONLY",
    "SQLITE_CANTOPEN",
    "SQLITE_BUSY",
    "SQLITE_IOERR",
    "SQLITE_NOMEM",
)
_CANNOT_WRITE = ("SQLITE_FULL", "SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_IOERR")
_Result = TypeVar("_Result")


class Index:
    """The rows and a few named values; every change is made in one transaction by `replace` or `change`."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._open: sqlite3.Connection | None = None

    # -- reading -----------------------------------------------------------------------------------

    def rows(self, directory: bytes) -> dict[bytes, Row]:
        """The rows of one directory by name."""
        query = "SELECT directory, name, signature, inode, line FROM entries WHERE directory = ?"
        return {row[1]: Row(*row) for row in self._ask(query, directory)}

    def row(self, directory: bytes, name: bytes) -> Row | None:
        """The row of one entry."""
        query = "SELECT directory, name, signature, inode, line FROM entries WHERE directory = ? AND name = ?"
        found = self._ask(query, directory, name)
        return Row(*found[0]) if found else None

    def directories(self, path: bytes) -> list[bytes]:
        """Every directory at or below `path` that has rows, sorted."""
        query = (
            "SELECT DISTINCT directory FROM entries WHERE directory = ? OR (directory >= ? AND directory < ?)"
        )
        prefix = b"/" if path == b"/" else path + b"/"
        return [row[0] for row in self._ask(query + " ORDER BY directory", path, prefix, prefix[:-1] + b"0")]

    def links(self, inode: bytes) -> list[Row]:
        """The rows that are names of one inode."""
        query = "SELECT directory, name, signature, inode, line FROM entries WHERE inode = ?"
        return [Row(*row) for row in self._ask(query, inode)]

    def get(self, key: str) -> bytes | None:
        """A named value."""
        found = self._ask("SELECT value FROM state WHERE key = ?", key)
        return found[0][0] if found else None

    def paces(self) -> dict[bytes, str]:
        """How often each file changed of late, in the words of `core/pace`."""
        return dict(self._ask("SELECT path, pace FROM paces"))

    def skipped(self) -> dict[bytes, str]:
        """What the last capture could not take, with the reason."""
        return dict(self._ask("SELECT path, reason FROM skipped ORDER BY path"))

    def normal(self, path: bytes) -> Normal | None:
        """What a content comes to without its volatile lines: the last that was noted of this path."""
        found = self._ask("SELECT sha256, rules, digest FROM normals WHERE path = ?", path)
        return Normal(*found[0]) if found else None

    def acknowledged(self, address: str) -> Acknowledged:
        """What is remembered of a server."""
        found = self._ask("SELECT * FROM servers WHERE address = ?", address)
        return Acknowledged(*found[0]) if found else Acknowledged(address)

    def count(self) -> int:
        """How many entries are tracked."""
        return int(self._ask("SELECT COUNT(*) FROM entries")[0][0])

    # -- writing -----------------------------------------------------------------------------------

    def change(
        self,
        *,
        rows: Iterable[Row] = (),
        removed: Iterable[tuple[bytes, bytes]] = (),
        values: dict[str, bytes] | None = None,
        paces: dict[bytes, str] | None = None,
        skipped: dict[bytes, str | None] | None = None,
        normals: Mapping[bytes, Normal | None] | None = None,
    ) -> None:
        """Add or replace rows, remove others and set values, all at once; a `skipped` or a normal of None is
        taken out.
        """

        def work(connection: sqlite3.Connection) -> None:
            connection.executemany("DELETE FROM entries WHERE directory = ? AND name = ?", removed)
            connection.executemany("INSERT OR REPLACE INTO entries VALUES (?, ?, ?, ?, ?)", rows)
            connection.executemany("INSERT OR REPLACE INTO state VALUES (?, ?)", (values or {}).items())
            connection.executemany("INSERT OR REPLACE INTO paces VALUES (?, ?)", (paces or {}).items())
            for path, reason in (skipped or {}).items():
                if reason is None:
                    connection.execute("DELETE FROM skipped WHERE path = ?", (path,))
                else:
                    connection.execute("INSERT OR REPLACE INTO skipped VALUES (?, ?)", (path, reason))
            for path, normal in (normals or {}).items():
                if normal is None:
                    connection.execute("DELETE FROM normals WHERE path = ?", (path,))
                else:
                    connection.execute("INSERT OR REPLACE INTO normals VALUES (?, ?, ?, ?)", (path, *normal))

        self._write(work)

    def acknowledge(self, server: Acknowledged) -> None:
        """Remember this of a server."""
        marks = ", ".join("?" * len(server))
        query = f"INSERT OR REPLACE INTO servers VALUES ({marks})"  # noqa: S608 - nothing but marks
        self._write(lambda connection: connection.execute(query, server))

    def replace(self, rows: Iterable[Row], values: dict[str, bytes]) -> None:
        """Forget everything and start from these rows: a cold index."""

        def work(connection: sqlite3.Connection) -> None:
            for table in ("entries", "state", "skipped", "normals"):
                connection.execute(f"DELETE FROM {table}")  # noqa: S608 - names from the line above
            connection.executemany("INSERT OR REPLACE INTO entries VALUES (?, ?, ?, ?, ?)", rows)
            connection.executemany("INSERT INTO state VALUES (?, ?)", values.items())

        self._write(work)

    def close(self) -> None:
        """Let go of the file."""
        if self._open is not None:
            self._open.close()
            self._open = None

    # -- the file ----------------------------------------------------------------------------------

    def _ask(self, query: str, *values: object) -> list[Any]:
        return self._guarded(lambda connection: connection.execute(query, values).fetchall())

    def _write(self, work: Callable[[sqlite3.Connection], object]) -> None:
        def all_or_nothing(connection: sqlite3.Connection) -> None:
            with connection:
                connection.execute("BEGIN IMMEDIATE")
                work(connection)

        self._guarded(all_or_nothing)

    def _guarded(self, work: Callable[[sqlite3.Connection], _Result]) -> _Result:
        """Run `work`; a damaged file is thrown away and the work done on an empty one, which costs a
        rescan.
        """
        try:
            return work(self._connect())
        except sqlite3.DatabaseError as problem:
            name = getattr(problem, "sqlite_errorname", "")
            if name.startswith(_NOT_DAMAGE) and not os.path.isdir(self._path):
                raise self._explained(problem) from problem
            self._discard()
        try:
            return work(self._connect())
        except sqlite3.Error as problem:
            raise self._explained(problem) from problem

    def _connect(self) -> sqlite3.Connection:
        if self._open is None:
            connection = sqlite3.connect(self._path, timeout=10, isolation_level=None)
            self._open = connection
            try:
                self._prepare(connection)
            except sqlite3.OperationalError as problem:
                if not problem.sqlite_errorname.startswith(_CANNOT_WRITE) or not os.path.isfile(self._path):
                    raise
                # Reading must go on where nothing can be written.
                connection.close()
                import urllib.parse

                place = f"file:{urllib.parse.quote(self._path)}?immutable=1"
                self._open = sqlite3.connect(place, uri=True, isolation_level=None)
        return self._open

    def _prepare(self, connection: sqlite3.Connection) -> None:
        # After a power cut the file is a consistent older one, and the store's tip tells that it is
        # older.
        self._use_log(connection)
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.executescript(_SCHEMA)
        found = connection.execute("SELECT value FROM state WHERE key = 'format'").fetchone()
        if found is None:
            connection.execute("INSERT OR IGNORE INTO state VALUES ('format', ?)", (FORMAT,))
        elif found[0] != FORMAT:
            raise sqlite3.DatabaseError("index of another format")

    @staticmethod
    def _use_log(connection: sqlite3.Connection) -> None:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as problem:
            # Another process is switching it over at this moment.
            if not problem.sqlite_errorname.startswith("SQLITE_BUSY"):
                raise

    def _discard(self) -> None:
        self.close()
        for suffix in ("", "-wal", "-shm"):
            if os.path.isdir(self._path + suffix):
                shutil.rmtree(self._path + suffix)
            elif os.path.exists(self._path + suffix):
                os.unlink(self._path + suffix)

    def _is_full(self) -> bool:
        try:
            return os.statvfs(os.path.dirname(self._path)).f_bavail == 0
        except OSError:
            return False

    def _explained(self, problem: sqlite3.Error) -> Exception:
        """The sentence for a person, by SQLite's own error name."""
        name = getattr(problem, "sqlite_errorname", "")
        if name.startswith("SQLITE_FULL") or (name.startswith(_CANNOT_WRITE) and self._is_full()):
            return NoSpace(
                f"no space left for the index {self._path}", hint="free some space and run it again"
            )
        if name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN")):
            return ReadOnly(
                f"cannot write the index {self._path}", hint="is its file system mounted read-only?"
            )
        if name.startswith("SQLITE_BUSY"):
            return Busy(f"another Pacha is writing the index {self._path}", hint="run it again")
        return Failed(
            f"cannot use the index {self._path}: {problem}", hint="it is a cache: remove it and run again"
        )
