"""Hosts whose history holds hooks, and systems just large enough to run them inside."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.command import Pacha
from tests.rebuild.machines import Machine

_TOOLS = ("sh", "sleep", "cat", "env", "grep", "rm", "chmod")


def small_system(place: Path) -> Path:
    """A root with a shell and little else, which commands can be run in."""
    for tool in _TOOLS:
        found = Path(shutil.which(tool) or "").resolve()
        said = subprocess.run(["ldd", found], check=True, capture_output=True, text=True).stdout
        for source, inside in [
            (found, f"bin/{tool}"),
            *((Path(p), p[1:]) for p in re.findall(r"(/\S+) \(", said)),
        ]:
            (place / inside).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source.resolve(), place / inside)
    for folder in ("proc", "dev", "sys", "run", "tmp", "usr/sbin"):
        (place / folder).mkdir(parents=True)
    return place


def with_hooks(place: Path, hooks: Mapping[str, str]) -> Machine:
    """A host web1 that watches its /etc, with its configuration and hooks (`moment/name`: commands) in it."""
    machine = Machine(place, "web1", {"/etc/hosts": "web1\n"})
    folder = machine.root / "etc/pacha"
    folder.mkdir()
    config = folder / "pacha.toml"
    config.write_text(f'host = "web1"\nroot = "{machine.root}"\n')
    for name, body in hooks.items():
        path = folder / "hooks" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)
    machine.pacha = Pacha(machine.pacha.state, config, machine.pacha.home)
    machine.pacha.ok("watch", "/etc")
    return machine


def dpkg(*names: str) -> str:
    """What dpkg keeps of itself and these packages."""
    stanza = "Package: {}\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1.0\n"
    return "\n".join(map(stanza.format, ("dpkg", *names)))
