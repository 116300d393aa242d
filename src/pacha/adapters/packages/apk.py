"""Alpine's family: apk, whose `world` is the list of what was installed on purpose (apk-world(5), apk-db(5)).

A version that is held is a constraint in `world`, which lies in /etc.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from pacha.adapters.packages.family import Root, Wish, text
from pacha.core.facts import Package

_WORLD = b"/etc/apk/world"
_DATABASES = (b"/lib/apk/db/installed", b"/usr/lib/apk/db/installed")
_CONSTRAINT = re.compile(rb"[=<>~@]")


class Apk:
    """apk."""

    name = "apk"
    signs = _DATABASES
    marks = (*_DATABASES, _WORLD)
    repositories = (b"/etc/apk/repositories", b"/etc/apk/repositories.d", b"/etc/apk/keys", b"/etc/apk/arch")

    def installed(self, root: Root) -> dict[bytes, Package]:
        """What `world` names and is there; `=` holds a version."""
        present = self.present(root)
        found = {}
        for word in root.read(_WORLD).split():
            name = _CONSTRAINT.split(word)[0]
            if name in present:
                found[name] = Package(present[name], is_held=b"=" in word and b">" not in word)
        return found

    def present(self, root: Root) -> Mapping[bytes, bytes]:
        """The database's stanzas: `P:` is the name, `V:` the version."""
        found = {}
        for path in _DATABASES:
            for block in root.read(path).split(b"\n\n"):
                fields = dict(line.split(b":", 1) for line in block.split(b"\n") if line[1:2] == b":")
                if b"P" in fields:
                    found[fields[b"P"]] = fields.get(b"V", b"")
        return found

    def keys(self, root: Root) -> list[bytes]:
        """None: they lie in /etc/apk/keys."""
        return []

    def refresh(self, root: Root) -> list[list[str]]:
        """Finish what was interrupted, and fetch what the repositories have."""
        return [["apk", "fix"], ["apk", "update"]]

    def available(self, root: Root, names: Sequence[bytes]) -> dict[bytes, list[bytes]]:
        """By `apk policy`: a package, its versions, and under each where it is to be had."""
        found: dict[bytes, list[bytes]] = {}
        name = version = b""
        for line in root.run(["apk", "policy", *map(text, names)]).splitlines() if names else []:
            words = line.strip()
            if words.endswith(b" policy:"):
                name = words.removesuffix(b" policy:")
            elif line.startswith(b"  ") and not line.startswith(b"    "):
                version = words.removesuffix(b":")
            elif not words.endswith(b"apk/db/installed") and version not in found.get(name, ()):
                found.setdefault(name, []).insert(0, version)
        return found

    def install(self, wishes: Sequence[Wish]) -> list[str]:
        """One apk."""
        words = [text(w.name if w.version is None else w.name + b"=" + w.version) for w in wishes]
        return ["apk", "add", "--", *words]

    def along(self, root: Root, wishes: Sequence[Wish]) -> list[bytes]:
        """Nothing: whatever a killed apk has not installed, the next one does."""
        return []

    def mark(self, packages: Mapping[bytes, Package]) -> list[list[str]]:
        """Nothing: `world` comes back with the files."""
        return []
