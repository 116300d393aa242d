"""Make the private Python environment of a checkout, or the one that `make install` installs.

    environment.py checkout         .venv beside this checkout, with what Pacha needs to run
    environment.py checkout dev     the same, and the tools for tests and linters
    environment.py install DIR      Pacha itself in DIR; a DIR that is there is replaced in one step

Called by the launcher and the Makefile through tools/environment, which finds the Python; uses nothing
outside the standard library but pip, with or without the ensurepip that Debian puts into a package of its
own.
"""

from __future__ import annotations

import compileall
import contextlib
import errno
import fcntl
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
PROJECT = CHECKOUT / "pyproject.toml"
# The interpreter's own versioned name (/usr/bin/python3.11), so that an upgrade of the system's Python is
# noticed by the name being gone, and not by imports that fail.
PYTHON = os.path.realpath(sys.executable)


def main(arguments: list[str]) -> int:
    """Do what the arguments ask; 0 when the environment is ready."""
    try:
        match arguments:
            case ["checkout"]:
                checkout(dev=False)
            case ["checkout", "dev"]:
                checkout(dev=True)
            case ["install", directory]:
                install(Path(directory))
            case _:
                sys.stderr.write(__doc__ or "")
                return 2
    except subprocess.CalledProcessError as error:
        say(f"the environment could not be set up: {error.cmd[0]} ended with {error.returncode}")
        return 1
    except OSError as error:
        say(f"the environment could not be set up: {error.strerror}: {error.filename or CHECKOUT}")
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def say(message: str) -> None:
    """One line for the person, on stderr."""
    sys.stderr.write(f"pacha: {message}\n")


def checkout(*, dev: bool) -> None:
    """Bring .venv up to date with pyproject.toml; `ready`, written last, says that all of it is there."""
    venv = CHECKOUT / ".venv"
    with locked(CHECKOUT) as lock:
        project = PROJECT.read_bytes()
        made_at = PROJECT.stat().st_mtime_ns
        whole = is_whole(venv)
        # Once asked for, the developer's tools are kept in step by every later update.
        stamps = [
            venv / name for name in ("ready", "ready-dev") if name == "ready" or dev or (venv / name).exists()
        ]
        if whole and all(stamp.exists() and stamp.read_bytes() == project for stamp in stamps):
            mark(stamps, project, made_at)
            return
        if not os.access(CHECKOUT, os.W_OK):
            raise PermissionError(errno.EACCES, "not writable, so its owner must run ./pacha once", CHECKOUT)
        if whole:
            say(f"bringing its environment in {venv} up to date")
        else:
            say(f"setting up its environment in {venv} (once)")
            make(venv, lock)
        needs = requirements(tomllib.loads(project.decode()), dev=len(stamps) > 1)
        pip(venv, "install", *needs, lock=lock)
        link(venv)
        # Compiled now, for those who may run this checkout but not write into it.
        compileall.compile_dir(CHECKOUT / "src", quiet=2)
        give_to_owner(venv, *CHECKOUT.glob("src/**/__pycache__"))
        mark(stamps, project, made_at)
        give_to_owner(*stamps)


@contextlib.contextmanager
def locked(directory: Path):
    """Hold a lock on the directory itself; yields the descriptor, for children to hold it as well."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another pacha is setting up the environment; waiting for it")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def is_whole(venv: Path) -> bool:
    """Whether the environment was once finished, here, and its Python is still there."""
    link = venv / "checkout"
    return (
        (venv / "ready").exists()
        and link.exists()
        and link.samefile(CHECKOUT)
        and (venv / "bin/python").exists()
        and works([venv / "bin/python", "-c", ""])
    )


def make(venv: Path, lock: int) -> None:
    """A new environment without pip, which most of the time comes from outside."""
    if venv.is_symlink():
        venv.unlink()
    elif venv.exists():
        shutil.rmtree(venv)
    subprocess.run([PYTHON, "-m", "venv", "--without-pip", venv], check=True, pass_fds=(lock,))


def pip(venv: Path, *arguments: str, lock: int) -> None:
    """Run pip on the environment: that of the outer Python if it can, else one put inside by ensurepip."""
    inner = venv / "bin/python"
    outside = [PYTHON, "-m", "pip", "--python", inner]
    inside = [inner, "-m", "pip"]
    command = next((c for c in (outside, inside) if works([*c, "--version"])), None)
    if command is None:
        if not works([inner, "-m", "ensurepip", "--default-pip"]):
            say(f"{PYTHON} has no pip 22.3 and no ensurepip; on Debian: apt-get install python3-pip")
        command = inside
    options = ["-qq", "--disable-pip-version-check", "--no-input", "--no-warn-script-location"]
    # The children hold the lock too: if this process is killed, nobody else starts while pip still writes.
    subprocess.run([*command, *arguments, *options], check=True, pass_fds=(lock,), stdin=subprocess.DEVNULL)


def works(command: list[str | Path]) -> bool:
    """Whether a command ends well; what it says is of no interest."""
    return subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, check=False).returncode == 0


def requirements(project: dict, *, dev: bool) -> list[str]:
    """What pyproject.toml asks for; read here because pip learnt dependency groups only in 25.1."""
    return project["project"]["dependencies"] + (project["dependency-groups"]["dev"] if dev else [])


def link(venv: Path) -> None:
    """Make `import pacha` and `bin/pacha` in the environment mean this checkout."""
    site = next(venv.glob("lib/python3.*/site-packages"))
    (site / "pacha-checkout.pth").write_text(f"{CHECKOUT}/src\n")
    for name, target in (("checkout", CHECKOUT), ("bin/pacha", CHECKOUT / "pacha")):
        (venv / name).unlink(missing_ok=True)
        (venv / name).symlink_to(target)


def give_to_owner(*paths: Path) -> None:
    """Whoever owns the checkout owns its environment, also where `sudo ./pacha` made it."""
    owner = CHECKOUT.stat()
    if os.geteuid() != 0 or (owner.st_uid, owner.st_gid) == (0, 0):
        return
    for path in paths:
        os.lchown(path, owner.st_uid, owner.st_gid)
        for folder, folders, files in os.walk(path):
            for name in folders + files:
                os.lchown(os.path.join(folder, name), owner.st_uid, owner.st_gid)


def mark(stamps: list[Path], project: bytes, made_at: int) -> None:
    """Write the stamps as old as their pyproject.toml: the launcher asks only which of them is newer."""
    for stamp in stamps:
        if not stamp.exists() or stamp.read_bytes() != project:
            stamp.write_bytes(project)
        os.utime(stamp, ns=(made_at, made_at))


def install(directory: Path) -> None:
    """Put Pacha into `directory`; built beside it and renamed, so that a failure changes nothing."""
    os.umask(0o022)
    new, old = (directory.with_name(f".{directory.name}.{word}") for word in ("new", "old"))
    directory.parent.mkdir(parents=True, exist_ok=True)
    with locked(directory.parent) as lock:
        for left_over in (new, old):
            shutil.rmtree(left_over, ignore_errors=True)
        make(new, lock)
        pip(new, "install", str(CHECKOUT), lock=lock)
        (new / "tools").mkdir()
        shutil.copy(CHECKOUT / "tools/start.py", new / "tools/start.py")
        for script in (new / "bin").iterdir():
            rename_inside(script, str(new), os.environ.get("PACHA_LIB", str(directory)))
        if directory.exists():
            directory.rename(old)
        new.rename(directory)
        shutil.rmtree(old, ignore_errors=True)


def rename_inside(script: Path, built: str, final: str) -> None:
    """Let a script that pip wrote (`hg` is one) name the place where it will lie."""
    if script.is_symlink() or not script.is_file():
        return
    text = script.read_bytes()
    if built.encode() in text:
        script.write_bytes(re.sub(re.escape(built).encode(), lambda _: final.encode(), text))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
