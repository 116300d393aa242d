"""What Pacha itself runs on: the interpreter, the Mercurial beside it, the kernel, the hooks directory, the
unit that undoes after a restart.

Called by the verb `doctor` alone. It only looks; each finding is `(name, state, words, mend)`.
"""

from __future__ import annotations

import importlib.metadata
import os
import stat
import sys

_UNITS = (
    "/etc/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
)
_INSTALL = "run make install again, from the checkout that it was installed from"


def environment_checks(hooks: str, is_root: bool) -> list[tuple[str, str, str, str]]:
    """All of them."""
    return [_python(), _mercurial(), _kernel(), *_hooks(hooks, is_root), *(_restart() if is_root else ())]


def _python() -> tuple[str, str, str, str]:
    version = ".".join(map(str, sys.version_info[:3]))
    if not (3, 11) <= sys.version_info[:2] < (3, 14):
        return "python", "bad", f"{version} is not 3.11 to 3.13", _INSTALL
    return "python", "ok", f"{version}, {sys.executable}", ""


def _mercurial() -> tuple[str, str, str, str]:
    try:
        version = importlib.metadata.version("mercurial")
    except importlib.metadata.PackageNotFoundError:
        return "mercurial", "bad", "it is not installed beside Pacha", _INSTALL
    if not version.startswith("7.2"):
        return "mercurial", "bad", f"{version} is not 7.2", _INSTALL
    return "mercurial", "ok", version, ""


def _kernel() -> tuple[str, str, str, str]:
    from pacha.adapters.files import kernel
    from pacha.adapters.files.tree import Tree

    Tree(b"/").is_directory(b"/proc/self")  # a path of two steps: now it is known whether the kernel can
    release = os.uname().release
    if not kernel.has_openat2():
        return "kernel", "ok", f"{release}, without openat2: every path is walked step by step", ""
    return "kernel", "ok", f"{release}, with openat2", ""


def _restart() -> list[tuple[str, str, str, str]]:
    from pacha.adapters.units import has_systemd

    if not has_systemd():
        return []
    unit = "pacha-confirm.service"
    if os.path.realpath(f"{_UNITS[0]}/{unit}") == os.devnull:
        words = f"{unit} is masked: what a restart cuts off is undone by the next command only"
        return [("restart", "warning", words, f"systemctl unmask {unit}")]
    if not any(os.path.exists(f"{folder}/sysinit.target.wants/{unit}") for folder in _UNITS):
        words = f"there is no {unit}: what a restart cuts off is undone by the next command only"
        return [("restart", "warning", words, _INSTALL)]
    return [("restart", "ok", f"{unit} undoes what a restart cuts off", "")]


def _hooks(folder: str, is_root: bool) -> list[tuple[str, str, str, str]]:
    from pacha.adapters.hooks import MOMENTS

    found = []
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
        if name not in MOMENTS and not name.startswith("."):
            mend = f"the moments are {' '.join(MOMENTS)}"
            found.append(("hooks", "warning", f"{folder}/{name} is no moment: nothing in it is run", mend))
    for directory, _, names in os.walk(folder):
        for path in (directory, *(os.path.join(directory, name) for name in names)):
            status = os.stat(path)
            if is_root and (status.st_uid != 0 or status.st_mode & 0o022):
                mend = f"chown root {path}; chmod go-w {path}"
                found.append(
                    ("hooks", "bad", f"{path} can be changed by others than root: it is not run", mend)
                )
            elif stat.S_ISREG(status.st_mode) and not status.st_mode & 0o111:
                found.append(
                    ("hooks", "warning", f"{path} is not executable: it is not run", f"chmod +x {path}")
                )
    return found or [
        ("hooks", "ok", f"{folder} is in order" if os.path.isdir(folder) else "there are none", "")
    ]
