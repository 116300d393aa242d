"""What the kernel tells of running processes: their memory, and how often they ran.

Called by `live`. A command is counted with everything that it has started in its session. Must not start,
end or disturb them: all of it is read from `/proc`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")


@dataclass(frozen=True)
class Memory:
    """Megabytes in memory: shared pages counted in parts (PSS), and as a whole (RSS)."""

    proportional: float
    resident: float


def memory(session: int) -> Memory:
    """What the processes of a session hold together."""
    sums = {"Pss": 0, "Rss": 0}
    for process in _members(session):
        for line in _text(process / "smaps_rollup").splitlines():
            key, _, value = line.partition(":")
            if key in sums:
                sums[key] += int(value.split()[0])
    return Memory(sums["Pss"] * 1024 / 1e6, sums["Rss"] * 1024 / 1e6)


def switches(session: int) -> int:
    """How often a processor was given to, or taken from, any thread of the session until now."""
    found = 0
    for process in _members(session):
        for status in process.glob("task/*/status"):
            for line in _text(status).splitlines():
                key, _, value = line.partition(":")
                if key.endswith("ctxt_switches"):
                    found += int(value)
    return found


def _members(session: int) -> Iterator[Path]:
    for process in _PROC.glob("[0-9]*"):
        # The name in parentheses may hold anything; state, parent and group come before the session.
        fields = _text(process / "stat").rpartition(")")[2].split()
        if fields and fields[0] != "Z" and int(fields[3]) == session:
            yield process


def _text(file: Path) -> str:
    """What the file holds; nothing where the process has ended."""
    try:
        return file.read_text(errors="replace")
    except OSError:
        return ""
