"""What Pacha is made of, as an archive for another machine: this installation's own files, or wheels.

Called by `push --bootstrap`. This installation's files go where the other machine has the same Python on the
same sort of processor; for others wheels are taken from a folder, if somebody put them there. It must not
connect, download or build anything.
"""

from __future__ import annotations

import importlib.metadata
import io
import os
import re
import sys
import zipfile
from collections.abc import Iterator
from typing import NamedTuple

import pacha
from pacha.core.errors import Failed

# What pyproject.toml says that Pacha needs; what these need is found out.
NEEDS = ("inotify_simple", "mercurial", "pyrage", "rich", "tomlkit")
_PARTS_OF_TAG = 5  # NAME-VERSION-PYTHON-ABI-PLATFORM.whl


class Machine(NamedTuple):
    """What an archive must fit."""

    python: tuple[int, int]
    processor: str  # as uname(2) has it
    libc: str  # "glibc" or "musl"


def this_machine() -> Machine:
    """The one that this process runs on."""
    libc = "glibc" if "CS_GNU_LIBC_VERSION" in os.confstr_names else "musl"
    return Machine(sys.version_info[:2], os.uname().machine, libc)


def archive_for(machine: Machine, wheels: str) -> bytes:
    """A zip archive of what belongs into site-packages there. Failed where nothing here fits."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for name, data in _own_package():
            archive.writestr(name, data)
        for name, data in _installed() if machine == this_machine() else _of_wheels(machine, wheels):
            archive.writestr(name, data)
    return made.getvalue()


def arrival() -> bytes:
    """The text of the program that takes such an archive."""
    return _read(os.path.join(os.path.dirname(__file__), "arrival.py"))


def _own_package() -> Iterator[tuple[str, bytes]]:
    top = os.path.dirname(os.path.abspath(pacha.__file__))
    for folder, folders, names in os.walk(top):
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        for name in sorted(names):
            path = os.path.join(folder, name)
            yield os.path.join("pacha", os.path.relpath(path, top)), _read(path)


def _installed() -> Iterator[tuple[str, bytes]]:
    """The files of everything that is needed, as they lie here; none that lies outside site-packages."""
    for name in sorted(_needed()):
        for file in importlib.metadata.distribution(name).files or ():
            path = str(file)
            if not path.startswith(("..", "/")) and not path.endswith((".pyc", "RECORD")):
                yield path, _read(str(file.locate()))


def _needed() -> set[str]:
    """The names of everything that is needed, in the form in which wheels have them."""
    found: set[str] = set()
    waiting = list(NEEDS)
    while waiting:
        name = _plain(waiting.pop())
        if name in found:
            continue
        found.add(name)
        for requirement in importlib.metadata.requires(name) or ():
            wanted = re.match(r"[A-Za-z0-9._-]+", requirement)
            if wanted and ";" not in requirement:
                waiting.append(wanted[0])
    return found


def _of_wheels(machine: Machine, folder: str) -> Iterator[tuple[str, bytes]]:
    fitting = {
        _plain(name.partition("-")[0]): os.path.join(folder, name)
        for name in (sorted(os.listdir(folder)) if os.path.isdir(folder) else ())
        if _fits(name, machine)
    }
    missing = sorted(_needed() - fitting.keys())
    if missing:
        version = ".".join(map(str, machine.python))
        words = (
            f"it has Python {version} on {machine.processor} ({machine.libc}), and here is nothing for that"
        )
        raise Failed(words, hint=f"put wheels for it into {folder}: {' '.join(missing)}")
    for name in sorted(_needed()):
        with zipfile.ZipFile(fitting[name]) as wheel:
            for entry in wheel.namelist():
                where = re.sub(r"^[^/]+\.data/(purelib|platlib)/", "", entry)
                if not entry.endswith("/") and ".data/" not in where:
                    yield where, wheel.read(entry)


def _fits(name: str, machine: Machine) -> bool:
    """Whether a wheel of that file name runs there."""
    parts = name.removesuffix(".whl").split("-")
    if not name.endswith(".whl") or len(parts) < _PARTS_OF_TAG:
        return False
    pythons, abis, platforms = (part.split(".") for part in parts[-3:])
    major, minor = machine.python
    exact = f"cp{major}{minor}"
    older = {f"cp{major}{at}" for at in range(2, minor + 1)}
    is_python = exact in pythons or f"py{major}" in pythons or ("abi3" in abis and bool(older & set(pythons)))
    libc = "manylinux" if machine.libc == "glibc" else "musllinux"
    return is_python and any(
        one == "any" or (one.startswith((libc, "linux")) and one.endswith(machine.processor))
        for one in platforms
    )


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "_", name).lower()


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()
