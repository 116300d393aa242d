"""Do things as a user without rights, while the tests themselves run as root."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import sysconfig
import traceback
from collections.abc import Callable
from pathlib import Path

USER = 65_534
SYSTEM_PYTHONS = ("/usr/bin/python3", f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}")


def drop_rights(user: int = USER) -> None:
    """Become this user and no one else, for good; call it in a child process only."""
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)


def as_user(act: Callable[[], object], user: int = USER) -> None:
    """Run `act` in a child process with this user's rights; raise AssertionError where it fails."""
    child = os.fork()
    if child == 0:
        try:
            drop_rights(user)
            act()
        except BaseException:  # noqa: BLE001 - a forked child must never return into the test
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert status == 0, f"failed as user {user}: see the traceback on stderr"


def open_to_all(path: Path) -> bool:
    """Whether every user may reach and read this file or folder."""
    needed = stat.S_IROTH | (stat.S_IXOTH if path.is_dir() else 0)
    reachable = all(parent.stat().st_mode & stat.S_IXOTH for parent in path.resolve().parents)
    return reachable and path.resolve().stat().st_mode & needed == needed


def interpreter(place: Path) -> str | None:
    """A Python below `place` that any user may run and that finds Pacha, or None where there can't be one.

    The interpreter of the tests often lies in a closed home; then the system's own of the same version serves.
    """
    bases = [Path(sys.executable), *map(Path, SYSTEM_PYTHONS)]
    base = next(
        (base for base in bases if base.exists() and open_to_all(base.resolve()) and _fits(base)), None
    )
    if base is None:
        return None
    env = place / "env"
    subprocess.run([str(base.resolve()), "-m", "venv", "--without-pip", str(env)], check=True)
    packages = next((env / "lib").glob("python*/site-packages"))
    source = Path(__file__).resolve().parent.parent / "src"
    found = [_shared(source, place / "src"), _shared(Path(sysconfig.get_path("purelib")), place / "packages")]
    (packages / "pacha-under-test.pth").write_text("".join(f"{folder}\n" for folder in found))
    return str(env / "bin" / "python")


def _fits(base: Path) -> bool:
    """Same minor version, as the compiled modules are made for one."""
    told = subprocess.run(
        [str(base), "-c", "import sys; print(*sys.version_info[:2])"],
        capture_output=True,
        text=True,
        check=False,
    )
    return told.stdout.split() == [str(part) for part in sys.version_info[:2]]


def _shared(folder: Path, copy: Path) -> Path:
    if open_to_all(folder):
        return folder
    shutil.copytree(folder, copy, symlinks=True)
    subprocess.run(["chmod", "-R", "a+rX", str(copy)], check=True)
    return copy
