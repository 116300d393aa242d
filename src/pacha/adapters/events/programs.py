"""What a program and its command line are called, so that a person recognises them.

Called by `processes` with what /proc tells of a process: bytes, some of which the process itself may have
chosen. It looks at nothing, and what it returns is one line of printable characters.
"""

from __future__ import annotations

import re

from pacha.core.shown import printable

DELETED = b" (deleted)"  # as the kernel marks a program whose file has gone
_LENGTH = 400
_INTERPRETERS = frozenset("sh bash dash ksh zsh busybox perl python platform-python".split())
_TAKES_A_TEXT = frozenset((b"-c", b"-e", b"-E", b"-m"))  # instead of a script
_HARMLESS = re.compile(r"[\w@%+=:,./-]+")


def _base(path: bytes) -> str:
    return path.removesuffix(DELETED).rpartition(b"/")[2].decode("ascii", "replace")


def is_interpreter(program: bytes) -> bool:
    """Whether a program, by its path or name, runs scripts that are known by their own names."""
    return _base(program).rstrip("0123456789.") in _INTERPRETERS


def program_of(exe: bytes, arguments: list[bytes]) -> str:
    """The name of a program, or of the script that it interprets."""
    name = _base(exe)
    if not is_interpreter(exe):
        return name
    for argument in arguments[1:]:
        if argument in _TAKES_A_TEXT:
            break
        if not argument.startswith(b"-"):
            return _base(argument)
    return name


def split(cmdline: bytes) -> list[bytes]:
    """The command line's parts. One that a process wrote for itself (`nginx: worker process`) is one part."""
    if not cmdline:
        return []
    parts = cmdline.removesuffix(b"\0").split(b"\0")
    if b" " in parts[0] and not any(parts[1:]):
        return parts[:1]
    return parts


def as_command(arguments: list[bytes]) -> str:
    """As a shell would take it, on one line."""
    if len(arguments) == 1 and not arguments[0].startswith(b"/"):
        return _cut(shown(arguments[0]))
    return _cut(" ".join(map(_quoted, arguments)))


def typed(arguments: list[bytes]) -> str:
    """As a person would have typed it: `dnf install x`, not `/usr/bin/python3 /usr/bin/dnf install x`."""
    if arguments and is_interpreter(arguments[0]):
        script = next((at for at, part in enumerate(arguments) if at and not part.startswith(b"-")), 0)
        arguments = arguments[script:]
    first = arguments[0].rpartition(b"/")[2:] if arguments else ()
    return as_command([*first, *arguments[1:]])


def _quoted(argument: bytes) -> str:
    text = argument.decode("utf-8", "surrogateescape")
    if _HARMLESS.fullmatch(text):
        return text
    return "'" + printable(text).replace("'", "'\"'\"'") + "'"


def shown(name: bytes) -> str:
    """On one line; what is not UTF-8 is escaped."""
    return printable(name.decode("utf-8", "surrogateescape"))


def _cut(text: str) -> str:
    return text if len(text) <= _LENGTH else text[: _LENGTH - 2] + " …"
