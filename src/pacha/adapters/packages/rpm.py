"""The two families on rpm: dnf (Fedora, RHEL and their like) and zypper (SUSE).

rpm knows what is installed; why, each of the two keeps for itself: dnf in its history, zypper in a list of
what came automatically (dnf(8) `repoquery --userinstalled`, rpm(8) `--queryformat`, zypper(8)). Versions are
held by files below /etc, which are watched like others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pacha.adapters.packages.family import Root, Unreadable, Wish, text
from pacha.core.facts import Package

_DATABASES = (
    b"/usr/lib/sysimage/rpm/rpmdb.sqlite",
    b"/usr/lib/sysimage/rpm/Packages.db",
    b"/var/lib/rpm/rpmdb.sqlite",
    b"/var/lib/rpm/Packages.db",
    b"/var/lib/rpm/Packages",
)
_FORMAT = "%{NAME} %|EPOCH?{%{EPOCH}:}:{}|%{VERSION}-%{RELEASE}\\n"
_KEYS = b"/etc/pki/rpm-gpg"


class _Rpm:
    """What both have in common."""

    def present(self, root: Root) -> Mapping[bytes, bytes]:
        """By rpm; of a package that is there in several versions (kernels) the last."""
        return versions(root.run(["rpm", "-qa", "--queryformat", _FORMAT]))

    def keys(self, root: Root) -> list[bytes]:
        """None: they lie below /etc."""
        return []

    def along(self, root: Root, wishes: Sequence[Wish]) -> list[bytes]:
        """Nothing: neither has a simulation that other programs could read."""
        return []

    def mark(self, packages: Mapping[bytes, Package]) -> list[list[str]]:
        """Nothing: what is installed by name counts so."""
        return []


class Dnf(_Rpm):
    """rpm and dnf."""

    name = "dnf"
    signs = (b"/usr/bin/dnf", b"/usr/bin/dnf5", b"/usr/bin/dnf-3")
    marks = (*_DATABASES, b"/var/lib/dnf/history.sqlite", b"/usr/lib/sysimage/libdnf5/packages.toml")
    repositories = (b"/etc/yum.repos.d", b"/etc/dnf", b"/etc/yum", _KEYS)

    def installed(self, root: Root) -> dict[bytes, Package]:
        """What the user installed, as dnf's history has it; without looking at any repository."""
        words = ["dnf", "-C", "-q", "repoquery", "--userinstalled", "--queryformat", "%{name} %{evr}\n"]
        return {name: Package(version) for name, version in versions(root.run(words)).items()}

    def refresh(self, root: Root) -> list[list[str]]:
        """What the repositories have."""
        return [["dnf", "-y", "makecache"]]

    def available(self, root: Root, names: Sequence[bytes]) -> dict[bytes, list[bytes]]:
        """By repoquery, which lists them the oldest first."""
        words = [
            "dnf",
            "-q",
            "repoquery",
            "--available",
            "--queryformat",
            "%{name} %{evr}\n",
            "--",
            *map(text, names),
        ]
        found: dict[bytes, list[bytes]] = {}
        for line in root.run(words).splitlines() if names else []:
            name, _, version = line.partition(b" ")
            if version and version not in found.get(name, ()):
                found.setdefault(name, []).insert(0, version)
        return found

    def install(self, wishes: Sequence[Wish]) -> list[str]:
        """One dnf; what is in no repository does not stop the rest."""
        words = [text(w.name if w.version is None else w.name + b"-" + w.version) for w in wishes]
        return ["dnf", "-y", "--setopt=strict=0", "install", "--", *words]


class Zypper(_Rpm):
    """rpm and zypper."""

    name = "zypper"
    signs = (b"/usr/bin/zypper",)
    marks = (*_DATABASES, b"/var/lib/zypp/AutoInstalled")
    repositories = (b"/etc/zypp", _KEYS)

    def installed(self, root: Root) -> dict[bytes, Package]:
        """Everything but what zypper's list says came automatically; keys count as packages in rpm alone."""
        lines = root.read(b"/var/lib/zypp/AutoInstalled").splitlines()
        automatic = {line.strip() for line in lines if not line.startswith(b"#")}
        found = self.present(root)
        return {n: Package(v) for n, v in found.items() if n not in automatic and n != b"gpg-pubkey"}

    def refresh(self, root: Root) -> list[list[str]]:
        """What the repositories have; their keys came back with them."""
        return [["zypper", "--non-interactive", "--gpg-auto-import-keys", "refresh"]]

    def available(self, root: Root, names: Sequence[bytes]) -> dict[bytes, list[bytes]]:
        """By search, whose rows are `status | name | type | version | arch | repository`."""
        words = ["zypper", "--non-interactive", "-q", "search", "-s", "-t", "package", "--match-exact"]
        found: dict[bytes, list[bytes]] = {}
        for line in root.run([*words, "--", *map(text, names)]).splitlines() if names else []:
            fields = [field.strip() for field in line.split(b"|")]
            if len(fields) != 6 or fields[2] != b"package" or fields[5].startswith(b"(System"):
                continue
            if fields[3] not in found.get(fields[1], ()):
                found.setdefault(fields[1], []).append(fields[3])
        return found

    def install(self, wishes: Sequence[Wish]) -> list[str]:
        """One zypper, which may go back to an older version where that was captured."""
        words = [text(w.name if w.version is None else w.name + b"=" + w.version) for w in wishes]
        return ["zypper", "--non-interactive", "install", "--oldpackage", "--", *words]


def versions(said: bytes) -> dict[bytes, bytes]:
    """`name version` a line, as both queries are asked to answer."""
    found = {}
    for line in said.splitlines():
        name, _, version = line.partition(b" ")
        if name and (not version or b" " in version):
            raise Unreadable(f"no name and version: {line[:80].decode('utf-8', 'replace')}")
        if name:
            found[name] = version
    return found
