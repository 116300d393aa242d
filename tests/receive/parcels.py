"""Parcels for tests, and a host to receive them: the real `pacha receive`, its standard input the stream."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pacha.core.parcel import Deployment, Item, Parcel, Script, Wishes, render
from pacha.core.parcel_contents import pack
from tests.command import Pacha
from tests.faults.kill import wait_until

SHELL = b"#!/bin/sh\n"


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def file(path: str, data: bytes, mode: int = 0o644, **owner: str) -> tuple[Item, bytes]:
    """A file to be, with its content."""
    return Item(path.encode(), b"file", mode, **owner, sha256=digest(data), size=len(data)), data


def stream(
    files: Sequence[tuple[Item, bytes]] = (),
    *,
    hooks: Mapping[str, bytes] | None = None,
    items: Sequence[Item] = (),
    wishes: Wishes | None = None,
    **more: Any,
) -> bytes:
    """A parcel as it is sent; `hooks` are `{moment/name: script without its first line}`."""
    scripts = {name: SHELL + text for name, text in (hooks or {}).items()}
    contents = {item.sha256: data for item, data in files}
    contents |= {digest(data): data for data in scripts.values()}
    named = tuple(
        Script(*name.split("/"), digest(data), len(data))
        for name, data in scripts.items()  # type: ignore[misc]
    )
    deployment = Deployment(
        more.pop("name", "web"), items=(*items, *(item for item, _ in files)), hooks=named, **more
    )
    packing, body = pack(deployment, contents)
    return render(Parcel(deployment, wishes or Wishes("anna@hub"), packing)) + body


@dataclass
class Answer:
    """What the pusher is told."""

    code: int
    lines: list[dict[str, Any]]
    err: str

    @property
    def done(self) -> dict[str, Any]:
        """The last line, the outcome."""
        assert self.lines and self.lines[-1]["phase"] == "done", self
        return self.lines[-1]

    @property
    def phases(self) -> list[str]:
        return [line["phase"] for line in self.lines if set(line) == {"phase"}]

    @property
    def steps(self) -> dict[str, str]:
        """The action by path."""
        return {step["path"]: step["action"] for step in self.done["steps"]}

    @property
    def notes(self) -> str:
        return "\n".join(line["note"] for line in self.lines if "note" in line)


@dataclass
class Target:
    """A host that is pushed to, with a root of its own."""

    place: Path
    settings: str = ""
    interpreter: str = sys.executable
    user: int | None = None  # who receives, if not who runs the tests
    pacha: Pacha = field(init=False)

    def __post_init__(self) -> None:
        self.pacha = Pacha.at(self.place, interpreter=self.interpreter, user=self.user)
        self.root.mkdir(exist_ok=True)
        if self.user is not None:
            os.chown(self.root, self.user, self.user)
        self.pacha.config.write_text(f'root = "{self.root}"\nhost = "web1"\n{self.settings}')

    @property
    def root(self) -> Path:
        return self.place / "root"

    def put(self, path: str, data: bytes) -> Path:
        """Write a live file, as a person does."""
        target = self.root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        return target

    def read(self, path: str) -> bytes:
        return (self.root / path.lstrip("/")).read_bytes()

    def start(self, **more: Any) -> subprocess.Popen[bytes]:
        """`pacha receive`, waiting for its stream."""
        before = more.pop("before", ())
        if self.user is not None:
            more |= {"user": self.user, "group": self.user, "extra_groups": [], "cwd": self.pacha.home}
        return subprocess.Popen(
            [*before, *self.pacha.argv("receive")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=self.pacha.environment() | more.pop("env", {}), start_new_session=True, **more,
        )  # fmt: skip

    def begin(self, parcel: bytes) -> subprocess.Popen[bytes]:
        """The same with the whole of its stream, at work."""
        process = self.start()
        assert process.stdin is not None
        process.stdin.write(parcel)
        process.stdin.close()
        return process

    def until_live(self, path: str, content: bytes, hook: bytes) -> subprocess.Popen[bytes]:
        """A push of one file that is live already, and is held up by its last hook."""
        process = self.begin(stream([file(path, content)], hooks={"post-push/1": hook}))
        assert wait_until(lambda: self.read(path) == content, process)  # type: ignore[arg-type]
        return process

    def receive(self, parcel: bytes, **more: Any) -> Answer:
        """Feed it a stream to its end."""
        process = self.start(**more)
        out, err = process.communicate(parcel, timeout=60)
        return Answer(process.returncode, list(map(json.loads, out.splitlines())), err.decode())

    def mode(self, path: str) -> int:
        """The permissions of a live entry."""
        return stat.S_IMODE((self.root / path.lstrip("/")).lstat().st_mode)

    def settle(self) -> None:
        """Wait until what was pushed is recorded, if it ever is, by asking for the history."""
        self.pacha.run("log")

    def store_files(self) -> dict[str, int]:
        """Every file of the store, with its time."""
        return {str(path): path.stat().st_mtime_ns for path in self.pacha.store.rglob("*")}

    @property
    def journals(self) -> list[Path]:
        folder = self.pacha.state / "journal"
        return sorted(folder.iterdir()) if folder.is_dir() else []
