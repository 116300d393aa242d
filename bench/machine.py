"""What the figures were measured on: the machine in general words, and the versions of all tools.

Called by `run`. Must not give away host names, people or paths.
"""

import os
import platform
import re
from pathlib import Path

import timing
from contestants import SYSTEM_PATH
from ground import Ground
from subject import CHECKOUT, INSTALLED, Pacha
from timing import Command, CommandError

_PEERS = {
    "git": ("git", "--version"),
    "etckeeper": ("etckeeper", "--version"),
    "hg (also below etckeeper)": ("hg", "--version", "-q"),
    "inotifywait": ("inotifywait", "--help"),
    "lsyncd": ("lsyncd", "--version"),
    "restic": ("restic", "version"),
    "pyinfra": (str(INSTALLED / "bin" / "pyinfra"), "--version"),
    "Ansible": (str(INSTALLED / "bin" / "ansible"), "--version"),
}
_NUMBER = re.compile(r"\d+(?:\.\w+)+")


def describe(ground: Ground) -> str:
    """One line on the machine."""
    cores = len(os.sched_getaffinity(0))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    place = "each contestant on a fresh loop-mounted ext4 with a journal"
    if not ground.mounted:
        place = (
            "each contestant in a fresh folder (no file systems of their own: not root, or no loop devices)"
        )
    system = platform.freedesktop_os_release().get("PRETTY_NAME", "Linux") if _has_release() else "Linux"
    return (
        f"{cores} cores, {memory:.0f} GB of memory, {system}, Linux {_version(os.uname().release)}; {place}"
    )


def versions(pacha: Pacha) -> dict[str, str]:
    """The version of every tool, or that it is not there."""
    found = {"Pacha": _ask((*pacha.argv, "--version")) if pacha.argv else "not there"}
    found["Python (of Pacha, and bare)"] = _ask((pacha.python, "--version"))
    for name, argv in _PEERS.items():
        found[name] = _ask(argv)
    return found


def _ask(argv: tuple[str, ...]) -> str:
    environment = {"PATH": SYSTEM_PATH, "LANG": "C.UTF-8", "HGRCPATH": "", "HOME": os.devnull}
    try:
        return _version(timing.output(Command(argv, CHECKOUT, environment, accept=(0, 1))))
    except CommandError:
        return "not there"


def _version(text: str) -> str:
    match = _NUMBER.search(text)
    return match[0] if match else "unknown"


def _has_release() -> bool:
    return any(Path(path).exists() for path in ("/etc/os-release", "/usr/lib/os-release"))
