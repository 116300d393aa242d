"""What is tracked: the watches, what is ignored and up to which size, as they held at one revision.

Called by the scanner (may this entry be captured?) and the planner (was this entry covered then, so that its
absence means something?). Each revision whose rules differ carries them as `facts/rules`, one rule a line:

    watch /etc
    ignore /etc/alternatives/**
    size 10000000

It must not look at the file system: paths are as the host has them, parents resolved.
"""

from __future__ import annotations

from collections.abc import Iterable

from pacha.core.names import escape, is_below, outermost, split, unescape
from pacha.core.patterns import Ignore

RULES = b"facts/rules"
# Beside a target while it is being written; a name that nobody else uses, so that no one's file is taken for
# ours.
TEMPORARY_PREFIX, TEMPORARY_SUFFIX = b".pacha.", b".new"
# Of the configuration directory everything is captured but keys: they must not leave the machine with the
# history.
_PRIVATE = ("id_*", "identity*", "*.key", "*.pem")


def is_temporary(name: bytes) -> bool:
    """Whether a name is that of Pacha's own half-written file: `.pacha.<16 hexadecimal digits>.new`."""
    middle = name[len(TEMPORARY_PREFIX) : -len(TEMPORARY_SUFFIX)]
    return (
        name.startswith(TEMPORARY_PREFIX)
        and name.endswith(TEMPORARY_SUFFIX)
        and len(middle) == 16
        and not middle.strip(b"0123456789abcdef")
    )


def own_config(own: bytes) -> bytes:
    """Pacha's configuration file, by the path that counts as Pacha's own."""
    return own if own.endswith(b".toml") else own + b"/pacha.toml"


class Rules:
    """An immutable set of rules; equal where their text is."""

    def __init__(
        self,
        watches: Iterable[bytes],
        ignores: Iterable[str] = (),
        size: int = 10_000_000,
        excluded: Iterable[bytes] = (),
        own: Iterable[bytes] = (),
    ) -> None:
        """`excluded` are paths never captured (state, sockets); `own` is Pacha's configuration, always
        captured.
        """
        self.own = tuple(sorted(set(own)))
        self.watches = tuple(outermost([*watches, *self.own]))
        self.ignores = tuple(ignores)
        self.size = size
        self.excluded = tuple(sorted(set(excluded)))
        self._ignore = Ignore(self.ignores)
        self._private = Ignore(_PRIVATE, built_in=False)

    def watch_of(self, path: bytes) -> bytes | None:
        """The watch that `path` is or lies below."""
        for watch in self.watches:
            if is_below(path, watch):
                return watch
        return None

    def refuses(self, directory: bytes, name: bytes, path: bytes, is_directory: bool) -> bool:
        """Whether an entry below a watch is left out, its parents having been accepted."""
        if is_temporary(name) or path in self.excluded:
            return True
        for own in self.own:
            if is_below(path, own):
                return not name.endswith(b".pub") and self._private.matches_entry(
                    directory, name, is_directory
                )
        return self._ignore.matches_entry(directory, name, is_directory)

    def covers(self, path: bytes, is_directory: bool = False) -> bool:
        """Whether the entry would be captured if it were there."""
        watch = self.watch_of(path)
        if watch is None or path in self.excluded:
            return False
        while path != watch:
            directory, name = split(path)
            if self.refuses(directory, name, path, is_directory):
                return False
            path, is_directory = directory, True
        return True

    def render(self) -> bytes:
        """The text of `facts/rules`."""
        lines = [b"watch " + escape(path) for path in self.watches]
        lines += [b"ignore " + escape(pattern.encode("utf-8", "surrogateescape")) for pattern in self.ignores]
        lines += [b"own " + escape(path) for path in self.own]
        lines += [b"exclude " + escape(path) for path in self.excluded]
        return b"\n".join([*lines, b"size %d" % self.size, b""])

    @classmethod
    def parse(cls, text: bytes) -> Rules:
        """Raise ValueError for a text that `render` could not have made."""
        found: dict[bytes, list[bytes]] = {
            b"watch": [],
            b"ignore": [],
            b"own": [],
            b"exclude": [],
            b"size": [],
        }
        for line in text.splitlines():
            key, _, value = line.partition(b" ")
            if key not in found:
                raise ValueError("unknown rule")
            found[key].append(unescape(value))
        if len(found[b"size"]) != 1:
            raise ValueError("rules without a size")
        ignores = [pattern.decode("utf-8", "surrogateescape") for pattern in found[b"ignore"]]
        return cls(found[b"watch"], ignores, int(found[b"size"][0]), found[b"exclude"], found[b"own"])
