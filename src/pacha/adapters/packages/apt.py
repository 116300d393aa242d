"""Debian's family: dpkg and apt.

What is installed is read from dpkg's status and apt's extended states, as `apt-mark showmanual` does: 0.1 s
less than asking it, and it works on any root (apt-mark(8), dpkg(1), deb822(5)).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pacha.adapters.packages.family import Root, Wish, paragraphs, text
from pacha.core.facts import Package

_STATUS = b"/var/lib/dpkg/status"
_EXTENDED = b"/var/lib/apt/extended_states"
_LISTS = b"/etc/apt/sources.list.d"
_GONE = (b"not-installed", b"config-files")
_WHOLE = tuple([b"ok", state] for state in (b"installed", b"triggers-awaited", b"triggers-pending"))
# Another apt, or a dpkg that outlives its killed parent, is waited for.
_PATIENTLY = ["-q", "-o", "DPkg::Lock::Timeout=120", "-o", "Acquire::Retries=3"]
_KEEPING = ["--force-confdef", "--force-confold"]  # a configuration file that was changed here
_QUIETLY = [*_PATIENTLY, "-y", *(word for how in _KEEPING for word in ("-o", f"Dpkg::Options::={how}"))]
# Asking must not write a cache of the lists.
_ASK = ["apt-cache", "-o", "Dir::Cache::pkgcache=", "-o", "Dir::Cache::srcpkgcache="]
_ENVIRONMENT = ["env", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8"]


class Apt:
    """dpkg and apt."""

    name = "apt"
    signs = (_STATUS,)
    marks = (_STATUS, _EXTENDED, b"/etc/apt/sources.list", _LISTS)
    repositories = (
        b"/etc/apt/sources.list",
        _LISTS,
        b"/etc/apt/trusted.gpg",
        b"/etc/apt/trusted.gpg.d",
        b"/etc/apt/keyrings",
        b"/etc/apt/preferences",
        b"/etc/apt/preferences.d",
        b"/etc/apt/auth.conf",
        b"/etc/apt/auth.conf.d",
        b"/etc/apt/apt.conf",
        b"/etc/apt/apt.conf.d",
    )

    def installed(self, root: Root) -> dict[bytes, Package]:
        """What `apt-mark showmanual` and `apt-mark showhold` name."""
        stanzas, native = _there(root)
        automatic = {
            _name(s, native)
            for s in paragraphs(root.read(_EXTENDED))
            if s.get(b"Auto-Installed") == b"1" and b"Package" in s
        }
        found = {}
        for stanza in stanzas:
            name = _name(stanza, native)
            is_held = stanza[b"Status"].startswith(b"hold ")
            if is_held or name not in automatic:
                found[name] = Package(stanza.get(b"Version", b""), is_held, name in automatic)
        return found

    def present(self, root: Root) -> Mapping[bytes, bytes]:
        """Every package that dpkg has configured: one that was only unpacked has yet to be installed."""
        stanzas, native = _there(root)
        whole = [stanza for stanza in stanzas if stanza[b"Status"].split(b" ")[1:] in _WHOLE]
        return {_name(stanza, native): stanza.get(b"Version", b"") for stanza in whole}

    def keys(self, root: Root) -> list[bytes]:
        """What a `Signed-By` names outside /etc/apt, unless a keyring package brings it."""
        lists = [b"/etc/apt/sources.list", *(_LISTS + b"/" + name for name in root.names(_LISTS))]
        named = {
            path for one in lists for path in _signers(root.read(one)) if not path.startswith(b"/etc/apt/")
        }
        if not named:
            return []
        info = b"/var/lib/dpkg/info"
        keyrings = [name for name in root.names(info) if name.endswith(b".list") and b"keyring" in name]
        brought = {path for name in keyrings for path in root.read(info + b"/" + name).splitlines()}
        return sorted(named - brought)

    def refresh(self, root: Root) -> list[list[str]]:
        """The lists; then finish what was interrupted. What was killed while it was unpacked can only be
        installed once more: until then dpkg configures neither it nor what needs it.
        """
        stanzas, native = _there(root)
        half = [text(_name(s, native)) for s in stanzas if s[b"Status"].split(b" ")[1] == b"reinstreq"]
        mend = [*_ENVIRONMENT, "apt-get", *_QUIETLY, "--fix-broken"]
        return [
            [*_ENVIRONMENT, "apt-get", *_PATIENTLY, "check"],  # which waits for the lock; dpkg does not
            [*_ENVIRONMENT, "apt-get", *_PATIENTLY, "update"],
            [*_ENVIRONMENT, "dpkg", *_KEEPING, "--configure", "-a"],
            *([[*mend, "--reinstall", "install", "--", *half]] if half else []),
            [*mend, "install"],
        ]

    def available(self, root: Root, names: Sequence[bytes]) -> dict[bytes, list[bytes]]:
        """By `apt-cache madison`, whose lines are `package | version | source`, the package without its
        architecture, and the source with that before the word `Packages`.
        """
        found: dict[bytes, list[bytes]] = {}
        asked = set(names)
        if not asked:
            return found
        for line in root.run([*_ASK, "madison", *map(text, names)]).splitlines():
            fields = [field.strip() for field in line.split(b"|")]
            if len(fields) != 3 or not fields[2].endswith(b"Packages"):
                continue
            for name in (fields[0], b":".join((fields[0], *fields[2].split()[-2:-1]))):
                if name in asked and fields[1] not in found.get(name, ()):
                    found.setdefault(name, []).append(fields[1])
        return found

    def install(self, wishes: Sequence[Wish]) -> list[str]:
        """One apt-get, which may go back to an older version where that was captured."""
        words = [text(w.name if w.version is None else w.name + b"=" + w.version) for w in wishes]
        return [*_ENVIRONMENT, "apt-get", *_QUIETLY, "--allow-downgrades", "--allow-change-held-packages",
                "install", "--", *words]  # fmt: skip

    def along(self, root: Root, wishes: Sequence[Wish]) -> list[bytes]:
        """By apt's own simulation, whose lines are `Inst name [old] (version source [arch])`."""
        words = self.install(wishes)
        lines = root.run([*words[: words.index("install")], "--simulate", *words[words.index("install") :]])
        found = [line.split(b" ")[1] for line in lines.splitlines() if line.startswith(b"Inst ")]
        return [name for name in found if name not in {wish.name for wish in wishes}]

    def mark(self, packages: Mapping[bytes, Package]) -> list[list[str]]:
        """`apt-mark manual`, `auto` and `hold`."""
        manual = [text(name) for name, package in packages.items() if not package.is_automatic]
        automatic = [text(name) for name, package in packages.items() if package.is_automatic]
        held = [text(name) for name, package in packages.items() if package.is_held]
        lists = (("manual", manual), ("auto", automatic), ("hold", held))
        return [["apt-mark", word, *names] for word, names in lists if names]


def _there(root: Root) -> tuple[list[dict[bytes, bytes]], bytes]:
    """The stanza of every package that is there, and the system's own architecture: dpkg's."""
    stanzas = [s for s in paragraphs(root.read(_STATUS)) if _is_there(s)]
    return stanzas, next((s.get(b"Architecture", b"") for s in stanzas if s.get(b"Package") == b"dpkg"), b"")


def _is_there(stanza: Mapping[bytes, bytes]) -> bool:
    status = stanza.get(b"Status", b"").split(b" ")
    return b"Package" in stanza and len(status) == 3 and status[2] not in _GONE


def _name(stanza: Mapping[bytes, bytes], native: bytes) -> bytes:
    """With its architecture where that is a foreign one."""
    architecture = stanza.get(b"Architecture", b"all")
    name = stanza[b"Package"]
    return name if architecture in (b"all", native) or not native else name + b":" + architecture


def _signers(lines: bytes) -> list[bytes]:
    """The key files that a list of sources names, in either of its forms (sources.list(5))."""
    found = []
    for line in lines.splitlines():
        if line.lower().startswith(b"signed-by:"):
            found += line.partition(b":")[2].split()
        elif b"signed-by=" in line and not line.lstrip().startswith(b"#"):
            found += line.partition(b"signed-by=")[2].split(b"]")[0].split()[0].split(b",")
    return [path for path in found if path.startswith(b"/")]
