"""Soundness: whether what a history says of one moment could be the state of a host at all.

Asked of a history from elsewhere before it is taken (`ops/rebuild_source`): nobody has admitted its
revisions, and whoever reads it afterwards relies on this. It is weaker than admission, which insists on the
one legal form: what an earlier Pacha wrote in another must still come back. It must not read a store.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pacha.core import acl
from pacha.core.entry import DIRECTORY, parse_entry
from pacha.core.errors import ConfigError
from pacha.core.names import ancestors, join
from pacha.core.rules import Rules

_MODES = 0o7777


def faults(lines: Mapping[bytes, Mapping[bytes, bytes]]) -> Iterator[tuple[bytes, str]]:
    """(path, what is wrong) of every entry that makes no sense, of `{directory: {name: line}}`."""
    directories = set(lines).union(*map(ancestors, lines))
    for directory, names in lines.items():
        for name, line in names.items():
            path = join(directory, name)
            try:
                _check_line(line, is_itself=name == b".")
            except ValueError as problem:
                yield path, str(problem)
                continue
            if name != b"." and path in directories:
                yield path, "it is a directory and something else"


def _check_line(line: bytes, *, is_itself: bool) -> None:
    """Raise ValueError where it does not parse, or says what no entry can have."""
    entry = parse_entry(line)
    if is_itself != (entry.kind == DIRECTORY):
        raise ValueError("a directory's line stands in another place than its own")
    if not 0 <= entry.mode <= _MODES:
        raise ValueError("a mode that no file can have")
    if any(b"\0" in text for text in (entry.target or b"", entry.link or b"", *dict(entry.xattrs))):
        raise ValueError("a zero byte where the system knows none")
    for words in (entry.acl, entry.default_acl):
        if words is not None:
            acl.to_binary(words, lambda _name, number: number, lambda _name, number: number)


def check_rules(text: bytes) -> Rules:
    """The rules; raise ValueError where they do not parse, or name what is no path."""
    try:
        rules = Rules.parse(text)
    except ConfigError as problem:  # of a pattern, and it is not this host's
        raise ValueError(str(problem)) from problem
    if rules.size < 0:
        raise ValueError("a size below nothing")
    for path in (*rules.watches, *rules.own, *rules.excluded):
        if not _is_clean(path):
            raise ValueError(f"a rule for {path.decode('utf-8', 'backslashreplace')!r}, which is no path")
    return rules


def _is_clean(path: bytes) -> bool:
    """Whether it is absolute, and says where it leads without detours."""
    parts = path.split(b"/")
    return path == b"/" or (
        len(parts) > 1 and not parts[0] and b"\0" not in path and not {b"", b".", b".."} & set(parts[1:])
    )
