"""Installs Pacha on the machine where this text is run: sent there whole by `push --bootstrap`.

It is run by the machine's own Python, before there is anything of Pacha, so it imports the standard library
alone. On standard input comes, behind this text, a zip archive of what belongs into site-packages. It makes
an environment in PREFIX/lib/pacha, and PREFIX/bin/pacha; what is there is replaced as a whole. Where there is
systemd, it gets a unit in PREFIX/lib/systemd/system. It prints JSON objects, one a line: what it is about to
do, as who says nothing for long is given up, and at last how it went.
"""

from __future__ import annotations

import compileall
import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from typing import cast

CHUNK = 1 << 16  # bytes, at most
SYSTEMD = "/run/systemd/system"
NAME = "pacha-confirm.service"
# Those of packaging/systemd/pacha-confirm.service, which says why.
UNIT = """\
[Unit]
Description=Pacha: undo what nobody has confirmed, after a restart of this host
DefaultDependencies=no
RequiresMountsFor=/var/lib/pacha
After=local-fs.target
Wants=network-pre.target
Before=sysinit.target network-pre.target shutdown.target
Before=nftables.service iptables.service ip6tables.service netfilter-persistent.service
Before=firewalld.service ufw.service
Conflicts=shutdown.target
ConditionDirectoryNotEmpty=/var/lib/pacha/journal

[Service]
Type=notify
ExecStart={program} confirm --expire all
TimeoutStartSec=60s
KillMode=process
UMask=0077
"""
LAUNCHER = """\
#!{lib}/bin/python -IS
import sys
sys.prefix = sys.exec_prefix = "{lib}"
sys.path.append("{packages}")
from pacha.__main__ import main
sys.exit(main())
"""


def install(archive: bytes, prefix: str) -> str:
    """What the installed Pacha says of its version."""
    os.umask(0o022)
    lib, program = os.path.join(prefix, "lib/pacha"), os.path.join(prefix, "bin/pacha")
    made, old = f"{lib}.new", f"{lib}.old"
    for leftover in (made, old):
        shutil.rmtree(leftover, ignore_errors=True)
    os.makedirs(os.path.dirname(program), exist_ok=True)
    say("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", made], check=True, stdout=sys.stderr)
    below = f"lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
    packages = os.path.join(made, below)
    say("files")
    with zipfile.ZipFile(io.BytesIO(archive)) as files:
        files.extractall(packages)
    for name in sorted(os.listdir(packages)):
        say(f"compile {name}")
        path = os.path.join(packages, name)
        compiled = compileall.compile_dir if os.path.isdir(path) else compileall.compile_file
        compiled(path, quiet=2, stripdir=made, prependdir=lib)
    say("disk")
    os.sync()
    say("program")
    if os.path.exists(lib):
        os.rename(lib, old)
    os.rename(made, lib)
    write(program, LAUNCHER.format(lib=lib, packages=os.path.join(lib, below)), 0o755)
    shutil.rmtree(old, ignore_errors=True)
    if os.path.isdir(SYSTEMD):
        install_unit(program, os.path.join(prefix, "lib/systemd/system"))
    told = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    return told.stdout.strip()


def install_unit(program: str, units: str) -> None:
    """Have a restart of the machine undo what is to be confirmed, as systemd finds it when it starts."""
    wanted = os.path.join(units, "sysinit.target.wants")
    os.makedirs(wanted, exist_ok=True)
    write(os.path.join(units, NAME), UNIT.format(program=program), 0o644)
    link = os.path.join(wanted, NAME)
    if not os.path.lexists(link):
        os.symlink(f"../{NAME}", link)


def write(path: str, text: str, mode: int) -> None:
    """Make a file whole, at once and on the disk."""
    with open(f"{path}.new", "w", encoding="utf-8") as file:
        file.write(text)
        os.fchmod(file.fileno(), mode)
        file.flush()
        os.fsync(file.fileno())
    os.rename(f"{path}.new", path)


def arrived() -> bytes:
    """All of the archive, which may take its time to come."""
    chunks: list[bytes] = []
    stream = cast("io.BufferedReader", sys.stdin.buffer)
    while not chunks or chunks[-1]:
        say("archive")
        chunks.append(stream.read1(CHUNK))
    return b"".join(chunks)


def say(phase: str) -> None:
    """Tell whoever waits that something goes on."""
    answer({"phase": phase})


def answer(words: dict[str, object]) -> None:
    """One line on standard output, at once."""
    print(json.dumps(words), flush=True)  # noqa: T201 - the answer


def main() -> None:
    """Install, and say how it went."""
    try:
        answer({"ok": True, "version": install(arrived(), sys.argv[1])})
    except (OSError, subprocess.SubprocessError, zipfile.BadZipFile) as problem:
        answer({"ok": False, "message": str(problem)})


if __name__ == "__main__":
    main()
