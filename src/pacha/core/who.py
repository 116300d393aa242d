"""Who made a change: what was found out about the process that wrote, and how that is told.

Called by the event adapters, which fill it in, by the agent, which groups changes by it, and by whatever
shows history. A field that could not be found out is empty. It must not look at a process: `adapters/events`
does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class Run(NamedTuple):
    """A package manager at work: everything written under it belongs together until its process ends."""

    pid: int
    started: int  # clock ticks after boot, which with the pid names one process
    command: str  # `apt install nginx`


class Who(NamedTuple):
    """One process that wrote. Two of the same person and command are equal but for their pid."""

    pid: int
    user: str  # the real user's name, or its number
    login: str  # who had logged in, also under sudo
    exe: str  # the absolute path of the program
    command: str  # the command line, quoted so that a shell would take it
    via: str = ""  # what made that user of that login: sudo, su, doas, pkexec, run0
    session: str = ""  # the number of the login session
    unit: str = ""  # the systemd unit, such as nginx.service
    run: Run | None = None

    @property
    def actor(self) -> str:
        """The person, or else the account."""
        return self.login or self.user

    def words(self) -> str:
        """`alice via sudo: sed -i s/80/8080/ ports.conf`."""
        via = f" via {self.via}" if self.via else f" as {self.user}" if self.user != self.actor else ""
        return f"{self.actor}{via}: {self.command or self.exe}"

    def without_arguments(self) -> Who:
        """The same, the command cut down to its program: an argument may hold what was written."""
        return self._replace(command=program_of(self.command))

    def as_object(self) -> dict[str, Any]:
        """As a revision keeps it and JSON shows it: what is not known is left out, but for the first four."""
        values = {
            "user": self.user, "login": self.login or None, "exe": self.exe, "command": self.command,
            "via": self.via, "session": self.session, "unit": self.unit,
        }  # fmt: skip
        return {
            key: value for key, value in values.items() if value or key in ("user", "login", "exe", "command")
        }


class Origin(NamedTuple):
    """Who changed what is captured, where another captures it; `who` is as a revision keeps it."""

    author: str
    who: tuple[dict[str, Any], ...]

    @property
    def discreet(self) -> Origin:
        """The same without the arguments of any command: one may hold what was written."""
        return Origin(self.author, tuple(map(without_arguments, self.who)))


def program_of(command: str) -> str:
    """A command line without its arguments, and with a sign that there were some."""
    program, space, _ = command.partition(" ")
    return f"{program} …" if space else program


def without_arguments(kept: Mapping[str, Any]) -> dict[str, Any]:
    """What a revision keeps of a writer, the command cut down to its program."""
    command = kept.get("command")
    return {**kept, **({"command": program_of(command)} if isinstance(command, str) else {})}


def tell(kept: Mapping[str, Any]) -> str:
    """What a revision keeps of a writer, as one line: `alice via sudo: nginx -t  (session 3, nginx.service)`.

    Whoever may add revisions may have written anything there: what is no text counts as not known.
    """

    def text(key: str) -> str:
        return value if isinstance(value := kept.get(key), str) else ""

    user = text("user") or text("login") or "unknown"
    who = Who(0, user, text("login"), text("exe"), text("command"), text("via"))
    where = ", ".join(filter(None, (text("session") and f"session {text('session')}", text("unit"))))
    return who.words().removesuffix(": ") + (f"  ({where})" if where else "")
