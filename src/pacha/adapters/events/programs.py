"""What a program and its command line are called, so that a person recognises them.

Called by `processes` with what /proc tells of a process: bytes, some of which the process itself may have
chosen. It looks at nothing, and what it returns is one line of printable characters.
"""

from __future__ import annotations

import re

from pacha.core.shown import printable

DELETED = b" (deleted)"  # as the kernel marks a program whose file has gone
_LENGTH = 400
# Interpreters, and the letters of the options by which they take a text or a module instead of a script.
_INTERPRETERS = {
    **dict.fromkeys(("sh", "bash", "dash", "ksh", "zsh", "busybox"), b"c"),
    **dict.fromkeys(("python", "platform-python"), b"cm"),
    "perl": b"eE",
}
_HARMLESS = re.compile(r"[\w@%+=:,./-]+")


def _base(path: bytes) -> str:
    return path.removesuffix(DELETED).rpartition(b"/")[2].decode("ascii", "replace")


def _kind(program: bytes) -> str:
    """`python3.11` is a python."""
    return _base(program).rstrip("0123456789.")


def is_interpreter(program: bytes) -> bool:
    """Whether a program, by its path or name, runs scripts that are known by their own names."""
    return _kind(program) in _INTERPRETERS


def _script(interpreter: bytes, arguments: list[bytes]) -> int:
    """Which argument is the script; 0 where none is."""
    instead = _INTERPRETERS[_kind(interpreter)]
    for at, argument in enumerate(arguments[1:], 1):
        if not argument.startswith(b"-"):
            return at
        if not argument.startswith(b"--") and any(letter in instead for letter in argument):
            break
    return 0


def program_of(exe: bytes, arguments: list[bytes]) -> str:
    """The name of a program, or of the script that it interprets."""
    at = _script(exe, arguments) if is_interpreter(exe) else 0
    return _base(arguments[at] if at else exe)


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
        arguments = arguments[_script(arguments[0], arguments) :]
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
