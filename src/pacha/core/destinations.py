"""Which hosts the words `web1 admin@db1 @web` mean.

Called by `push`, and by whatever else names many hosts. A destination is what ssh takes; a group is a list
of them in the configuration. It must not connect, nor look a name up.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches

from pacha.core import config_values as to
from pacha.core.errors import UsageError

_SCHEME = "ssh://"


def expand(words: Iterable[str], groups: Mapping[str, Sequence[str]]) -> list[str]:
    """The destinations in the order in which they were named, each once. UsageError for what is none."""
    found: dict[str, None] = {}
    for word in words:
        if word.startswith("@"):
            found.update(dict.fromkeys(_members(word[1:], groups)))
        else:
            found[_destination(word)] = None
    return list(found)


def host_of(destination: str) -> str:
    """The host in a destination, by which a deployment has values for it: `web1` of `admin@web1`."""
    is_url = destination.startswith(_SCHEME)
    host = destination.removeprefix(_SCHEME).rpartition("@")[2]
    if not is_url:
        return host
    host = host.rstrip("/")
    name, _, port = host.rpartition(":")
    return name if name and port.isdigit() else host


def _members(group: str, groups: Mapping[str, Sequence[str]]) -> Sequence[str]:
    if group not in groups:
        near = get_close_matches(group, groups, 1)
        hint = f"did you mean @{near[0]}?" if near else f'name it in pacha.toml: [groups] {group} = ["HOST"]'
        raise UsageError(f"there is no group @{group}", hint=hint)
    if not groups[group]:
        raise UsageError(f"the group @{group} has no hosts", hint="name some in pacha.toml, in [groups]")
    return groups[group]


def _destination(word: str) -> str:
    try:
        return to.word(word)
    except to.WrongError:
        raise UsageError(f"{word!r} is no destination of ssh", hint="such as web1 or admin@web1") from None
