"""The families of package managers: apt by the real tool, the others by what theirs have said and left behind.

Sources of the recorded texts: apk's database and world as apk-db(5) and apk-world(5) describe them, `apk policy`
as Alpine's wiki (Alpine Package Keeper) shows it; pacman's `desc` as alpm-db-desc(5) has it; `zypper search -s`
as openSUSE's portal (SDB: Zypper manual) shows it; rpm by its own query format, rpm(8).
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from pacha.adapters.files.tree import Tree
from pacha.adapters.packages.apk import Apk
from pacha.adapters.packages.apt import Apt
from pacha.adapters.packages.family import Unreadable, Wish
from pacha.adapters.packages.pacman import Pacman
from pacha.adapters.packages.rpm import Dnf, Zypper
from pacha.adapters.packages.system import System
from pacha.core.facts import Package
from tests import needs

apt = pytest.mark.skipif(shutil.which("apt-mark") is None, reason="needs apt")


class Recorded:
    """A root of files and answers that were recorded."""

    def __init__(self, files: dict[bytes, bytes], said: bytes = b"") -> None:
        self.files = files
        self.said = said
        self.asked: list[Sequence[str]] = []

    def read(self, path: bytes) -> bytes:
        return self.files.get(path, b"")

    def names(self, path: bytes) -> list[bytes]:
        below = {one.removeprefix(path + b"/") for one in self.files if one.startswith(path + b"/")}
        return sorted({name.split(b"/")[0] for name in below})

    def run(self, words: Sequence[str]) -> bytes:
        self.asked.append(words)
        return self.said


def said(*words: str) -> list[str]:
    return sorted(subprocess.run(words, check=True, capture_output=True, text=True).stdout.split())


@apt
def test_apt_names_what_apt_mark_names() -> None:
    found = Apt().installed(System(Tree(b"/")))
    assert sorted(n.decode() for n, p in found.items() if not p.is_automatic) == said(
        "apt-mark", "showmanual"
    )
    assert sorted(n.decode() for n, p in found.items() if p.is_held) == said("apt-mark", "showhold")


@apt
def test_apt_has_the_versions_that_dpkg_has() -> None:
    told = subprocess.run(
        ["dpkg-query", "-W", "-f", "${binary:Package}\t${Version}\t${db:Status-Status}\n"],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    rows = [line.split("\t") for line in told.splitlines()]
    wanted = {r[0].removesuffix(":amd64"): r[1] for r in rows if r[2].startswith(("installed", "triggers-"))}
    found = Apt().present(System(Tree(b"/")))
    assert {n.decode(): v.decode() for n, v in found.items()} == wanted


DPKG = b"""Package: dpkg
Status: install ok installed
Architecture: amd64
Version: 1.21

Package: libc6
Status: install ok installed
Architecture: i386
Version: 2.36

Package: nginx
Status: hold ok installed
Architecture: amd64
Version: 1.22
Description: small
 Package: not-a-field

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1
"""
EXTENDED = b"Package: nginx\nArchitecture: amd64\nAuto-Installed: 1\n"


def test_apt_with_a_foreign_architecture_and_a_held_dependency() -> None:
    root = Recorded({b"/var/lib/dpkg/status": DPKG, b"/var/lib/apt/extended_states": EXTENDED})
    assert Apt().installed(root) == {
        b"dpkg": Package(b"1.21"),
        b"libc6:i386": Package(b"2.36"),
        b"nginx": Package(b"1.22", is_held=True, is_automatic=True),
    }


KILLED = b"""Package: dpkg
Status: install ok installed
Architecture: amd64
Version: 1.21

Package: whole
Status: hold ok triggers-pending
Architecture: amd64
Version: 2

Package: half
Status: install reinstreq unpacked
Architecture: all
Version: 3

Package: waiting
Status: install ok unpacked
Architecture: amd64
Version: 4
"""


def test_apt_installs_once_more_what_was_killed_while_it_was_unpacked() -> None:
    root = Recorded({b"/var/lib/dpkg/status": KILLED})
    assert Apt().present(root) == {b"dpkg": b"1.21", b"whole": b"2"}
    mended = [words for words in Apt().refresh(root) if "--reinstall" in words]
    assert [words[words.index("--") :] for words in mended] == [["--", "half"]]
    assert not any("--reinstall" in words for words in Apt().refresh(Recorded({})))


SIMULATED = b"""NOTE: This is only a simulation!
Inst cron-daemon-common (3.0pl1-162 Debian:12.0/oldstable [all])
Inst cron (3.0pl1-162 Debian:12.0/oldstable [amd64]) []
Inst libc6 [2.36-9] (2.36-9+deb12u14 Debian:12.14/oldstable [amd64])
Inst libgcc-s1:i386 (12.2.0-14 Debian:12.14/oldstable [i386])
Conf cron (3.0pl1-162 Debian:12.0/oldstable [amd64])
"""


def test_apt_tells_what_would_come_along() -> None:
    root = Recorded({}, SIMULATED)
    found = Apt().along(root, [Wish(b"cron", b"3.0pl1-162")])
    assert found == [b"cron-daemon-common", b"libc6", b"libgcc-s1:i386"]
    (asked,) = root.asked
    assert asked[-4:] == ["--simulate", "install", "--", "cron=3.0pl1-162"]


MADISON = b"""     libc6 | 2.36-9+deb12u14 | http://deb.debian.org/debian bookworm/main amd64 Packages
     libc6 | 2.36-9+deb12u13 | http://deb.debian.org/debian bookworm/main i386 Packages
     libc6 | 2.36-9+deb12u14 | http://deb.debian.org/debian bookworm/main Sources
"""


def test_apt_has_versions_of_a_foreign_architecture() -> None:
    found = Apt().available(Recorded({}, MADISON), [b"libc6:i386", b"localtool"])
    assert found == {b"libc6:i386": [b"2.36-9+deb12u13"]}


def test_apt_keys_that_no_package_brings() -> None:
    root = Recorded(
        {
            b"/etc/apt/sources.list": b"deb [arch=amd64 signed-by=/usr/share/keyrings/a.gpg] http://x y main\n"
            b"# deb [signed-by=/no.gpg] http://x y main\n",
            b"/etc/apt/sources.list.d/x.sources": b"Types: deb\nSigned-By: /usr/share/keyrings/b.gpg\n",
            b"/var/lib/dpkg/info/debian-archive-keyring.list": b"/.\n/usr/share/keyrings/b.gpg\n",
        }
    )
    assert Apt().keys(root) == [b"/usr/share/keyrings/a.gpg"]


def test_apt_versions_to_be_had() -> None:
    root = Recorded(
        {},
        b" nginx | 1.22.1-9+deb12u1 | http://deb x/main amd64 Packages\n nginx | 1.22.1-9 | http://s Sources\n",
    )
    assert Apt().available(root, [b"nginx"]) == {b"nginx": [b"1.22.1-9+deb12u1"]}
    assert Apt().install([Wish(b"nginx", b"1"), Wish(b"vim", None)])[-3:] == ["--", "nginx=1", "vim"]


APK = b"""C:Q1x
P:musl
V:1.2.3-r5
A:x86_64
F:lib
R:libc.musl-x86_64.so.1

C:Q1y
P:nginx
V:1.24.0-r1
"""


def test_apk() -> None:
    world = b"nginx=1.24.0-r1 musl\nabsent>2 !vim\n"
    root = Recorded({b"/lib/apk/db/installed": APK, b"/etc/apk/world": world})
    assert Apk().installed(root) == {
        b"nginx": Package(b"1.24.0-r1", is_held=True),
        b"musl": Package(b"1.2.3-r5"),
    }
    policy = b"nginx policy:\n  1.24.0-r1:\n    lib/apk/db/installed\n  1.26.0-r0:\n    https://mirror/main\n"
    assert Apk().available(Recorded({}, policy), [b"nginx"]) == {b"nginx": [b"1.26.0-r0"]}


def test_pacman() -> None:
    desc = b"%%NAME%%\n%s\n\n%%VERSION%%\n%s\n\n%%DESC%%\nA thing\n\n"
    local = b"/var/lib/pacman/local/"
    root = Recorded(
        {
            local + b"ALPM_DB_VERSION": b"9\n",
            local + b"nginx-1.26-1/desc": desc % (b"nginx", b"1.26-1"),
            local + b"glibc-2.39-1/desc": desc % (b"glibc", b"2.39-1") + b"%REASON%\n1\n",
        }
    )
    assert Pacman().installed(root) == {b"nginx": Package(b"1.26-1")}
    assert Pacman().present(root) == {b"nginx": b"1.26-1", b"glibc": b"2.39-1"}
    assert Pacman().available(
        Recorded({}, b"extra nginx 1.27-1 [installed]\nextra vim 9-1\n"), [b"nginx"]
    ) == {b"nginx": [b"1.27-1"]}


def test_dnf() -> None:
    root = Recorded({}, b"nginx 1:1.20.1-14.el9\n\nvim-enhanced 2:8.2.2637-20.el9\n")
    assert Dnf().installed(root)[b"nginx"] == Package(b"1:1.20.1-14.el9")
    assert root.asked[0][:4] == ["dnf", "-C", "-q", "repoquery"]
    with pytest.raises(Unreadable):
        Dnf().installed(Recorded({}, b"Last metadata expiration check: 0:12 ago\n"))


def test_zypper() -> None:
    files = {b"/var/lib/zypp/AutoInstalled": b"# Autogenerated\nlibzypp\n"}
    root = Recorded(files, b"zypper 1.14-1\nlibzypp 17-1\ngpg-pubkey 3dbdc284-53674dd4\n")
    assert Zypper().installed(root) == {b"zypper": Package(b"1.14-1")}
    search = b"""Reading installed packages...

S | Name           | Type    | Version    | Arch   | Repository
--+----------------+---------+------------+--------+------------------
v | virtualbox-ose | package | 1.6.2-2.1  | x86_64 | VirtualBox OSE
i | virtualbox-ose | package | 1.5.6-33.1 | x86_64 | openSUSE-11.1-Oss
v | virtualbox-ose | package | 1.6.2-2.1  | i586   | VirtualBox OSE
"""
    found = Zypper().available(Recorded({}, search), [b"virtualbox-ose"])
    assert found == {b"virtualbox-ose": [b"1.6.2-2.1", b"1.5.6-33.1"]}


@needs.root
def test_a_command_runs_inside_the_root_and_ends_with_it(tmp_path: Path) -> None:
    from pacha.adapters import inside

    assert inside.ask(b"/", ["printf", "x"]) == (0, b"x", b"")
    for name in ("bin", "lib", "lib64", "usr"):
        (tmp_path / name).mkdir()
    code, _, words = inside.ask(str(tmp_path).encode(), ["no-such-program"])
    assert code != 0 and b"no-such-program" in words
