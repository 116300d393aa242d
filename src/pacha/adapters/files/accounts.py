"""Users and groups: names for numbers, and numbers for names.

Called by the reader (names to record) and the writer (numbers to set). For the machine's own root the system
is asked, whatever it asks in turn; for another root its own `/etc/passwd` and `/etc/group` count, read
beneath that root like any other file of it. Each answer is asked for once.
"""

from __future__ import annotations

import os
from collections.abc import Callable


class Accounts:
    """The accounts of one root."""

    def __init__(self, is_own: bool, read: Callable[[bytes], bytes]) -> None:
        """`is_own`: the root is this machine's. `read(path)` gives a file of the root, empty where there is
        none.
        """
        self._is_own = is_own
        self._read = read
        self._names: dict[tuple[bytes, int], bytes] = {}
        self._numbers: dict[tuple[bytes, bytes], int | None] = {}
        self._tables: dict[bytes, list[tuple[bytes, int]]] = {}

    def forget(self) -> None:
        """Ask again: the accounts have been changed."""
        for table in (self._names, self._numbers, self._tables):
            table.clear()

    def user(self, number: int) -> bytes:
        """The user's name, empty where there is none."""
        return self._name(b"passwd", number)

    def group(self, number: int) -> bytes:
        """The group's name, empty where there is none."""
        return self._name(b"group", number)

    def user_number(self, name: bytes, stored: int) -> int:
        """The number of the user of that name, or the stored one where there is no such name."""
        found = self._number(b"passwd", name)
        return stored if found is None else found

    def group_number(self, name: bytes, stored: int) -> int:
        """The number of the group of that name, or the stored one where there is no such name."""
        found = self._number(b"group", name)
        return stored if found is None else found

    def missing(self, user: bytes, group: bytes) -> list[str]:
        """In words, which of the two (empty: none was recorded) does not exist here."""
        asked = ((b"passwd", "user", user), (b"group", "group", group))
        return [
            f"{word} {name.decode('utf-8', 'replace')}"
            for table, word, name in asked
            if name and (self._is_own or self._table(table)) and self._number(table, name) is None
        ]

    def _name(self, table: bytes, number: int) -> bytes:
        if (table, number) not in self._names:
            self._names[table, number] = self._ask_name(table, number)
        return self._names[table, number]

    def _number(self, table: bytes, name: bytes) -> int | None:
        if not name or b"\0" in name:
            return None
        if (table, name) not in self._numbers:
            self._numbers[table, name] = self._ask_number(table, name)
        return self._numbers[table, name]

    def _ask_name(self, table: bytes, number: int) -> bytes:
        if not self._is_own:
            return next((name for name, known in self._table(table) if known == number), b"")
        import grp
        import pwd

        try:
            found = pwd.getpwuid(number).pw_name if table == b"passwd" else grp.getgrgid(number).gr_name
        except KeyError:
            return b""
        return os.fsencode(found)

    def _ask_number(self, table: bytes, name: bytes) -> int | None:
        if not self._is_own:
            return next((number for known, number in self._table(table) if known == name), None)
        import grp
        import pwd

        text = os.fsdecode(name)
        try:
            return pwd.getpwnam(text).pw_uid if table == b"passwd" else grp.getgrnam(text).gr_gid
        except KeyError:
            return None

    def _table(self, table: bytes) -> list[tuple[bytes, int]]:
        """(name, number) of each line, in order: the first of a name or number counts."""
        if table not in self._tables:
            fields = (line.split(b":") for line in self._read(b"/etc/" + table).splitlines())
            self._tables[table] = [(f[0], int(f[2])) for f in fields if len(f) > 2 and f[2].isdigit()]
        return self._tables[table]
