"""A mail of every change: what a hook of `post-capture` reads as `diff`, and the example that mails it."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.command import Pacha
from tests.steps import capture, watch_first

from pacha.core.errors import DamagedStore
from pacha.ops import diff_text

EXAMPLE = Path(__file__).resolve().parents[2] / "packaging" / "examples" / "post-capture" / "50-mail"
LONGEST = 256_000


@pytest.fixture
def live(arena: Path, pacha: Pacha) -> Path:
    tree = arena / "live"
    tree.mkdir()
    (tree / "hosts").write_text("127.0.0.1 localhost\n")
    watch_first(pacha, tree)
    return tree


@pytest.fixture
def told(pacha: Pacha, live: Path, tmp_path: Path) -> Path:
    """What the hook was given, after the next capture."""
    hook(pacha).write_text(f"#!/bin/sh\ncat > {tmp_path}/told\n")
    capture(pacha)
    return tmp_path / "told"


def hook(pacha: Pacha) -> Path:
    path = pacha.config.parent / "hooks" / "post-capture" / "50-mail"
    path.parent.mkdir(parents=True)
    path.touch(0o755)
    return path


def text(told: Path) -> str:
    value: dict[str, Any] = json.loads(told.read_text())
    assert value["diff_cut"] is False
    return str(value["diff"])


def test_the_example_mails_the_change(
    pacha: Pacha, live: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mailer = tmp_path / "bin" / "mail"
    mailer.parent.mkdir()
    mailer.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {tmp_path}/arguments\ncat > {tmp_path}/body\n')
    mailer.chmod(0o755)
    monkeypatch.setenv("PATH", f"{mailer.parent}:{os.environ['PATH']}")
    assert len([line for line in EXAMPLE.read_text().splitlines() if not line.startswith("# ")]) <= 3
    shutil.copy(EXAMPLE, hook(pacha))
    pacha.ok("capture")
    (live / "hosts").write_text("127.0.0.1 localhost\n10.0.0.7 dß\n~! touch /tmp/x\n")
    answer = pacha.ok("capture", "-m", "the new database")
    assert [result["exit"] for result in answer["hooks"]] == [0], answer
    assert (tmp_path / "body").read_text() == (
        f"modified {live}/hosts\n--- a{live}/hosts\n+++ b{live}/hosts\n"
        "@@ -1 +1,3 @@\n 127.0.0.1 localhost\n+10.0.0.7 dß\n+~! touch /tmp/x\n"
    )
    host = pacha.ok("status")["host"]
    subject = f"{host}: configuration changed ({answer['revision']})"
    assert (tmp_path / "arguments").read_text().splitlines() == ["-s", subject, "root"]


def test_it_is_what_show_prints(pacha: Pacha, live: Path, told: Path) -> None:
    for name, content in {"binary": b"a\0b", "gone": b"x\n", "no end": b"x", "cr": b"a\rb\nc\n"}.items():
        (live / name).write_bytes(content)
    os.mkfifo(live / "kind")
    os.symlink("there", live / "link")
    capture(pacha)
    (live / "binary").write_bytes(b"a\0c")
    (live / "gone").unlink()
    (live / "no end").write_bytes(b"y")
    (live / "cr").write_bytes(b"a\rb\nd\n")
    (live / "hosts").chmod(0o600)
    (live / "kind").unlink()
    (live / "kind").write_bytes(b"now a file\n")
    (live / "link").unlink()
    os.symlink("elsewhere", live / "link")
    (live / "new folder").mkdir()
    (live / "new folder" / "name\n\x1b").write_bytes(b"")
    revision = capture(pacha)
    shown = pacha.run("show", revision).out
    assert shown.endswith(
        "\n\n" + text(told).replace("\r", "\n")
    )  # what reads the output takes it for a newline
    for words in (
        f"metadata {live}/hosts: mode 0644 → 0600\n",
        f"modified {live}/link: target there → elsewhere\n",
        f"+++ b{live}/kind\n@@ -0,0 +1 @@\n+now a file\n",
        "-x\n\\ No newline at end of file\n+y\n\\ No newline at end of file\n",
        " a\rb\n-c\n+d\n",
        "binary 3 bytes, sha256 ",
        f"added {live}/new folder/name\\n\\x1b\n",
    ):
        assert words in text(told)


def test_the_first_revision_and_what_is_not_text(pacha: Pacha, arena: Path, tmp_path: Path) -> None:
    hook(pacha).write_text(f"#!/bin/sh\ncat > {tmp_path}/told\n")
    tree = arena / "tree"
    tree.mkdir()
    (tree / "latin").write_bytes(b"caf\xe9\n")
    watch_first(pacha, tree)
    assert f"added {tree}/latin\n--- /dev/null\n+++ b{tree}/latin\n@@ -0,0 +1 @@\n+caf\ufffd\n" in text(
        tmp_path / "told"
    )


@pytest.mark.parametrize(
    "content", ["line\n" * 100_000, "ä" * 200_000, "x" * 300_000], ids=["lines", "ä", "x"]
)
def test_a_long_one_is_cut(pacha: Pacha, live: Path, told: Path, content: str) -> None:
    (live / "hosts").write_text(content)
    (live / "zz").write_text("after it\n")
    capture(pacha)
    value = json.loads(told.read_text())
    assert value["diff_cut"] is True
    assert LONGEST - 10 < len(value["diff"].encode()) <= LONGEST + 3
    assert value["diff"].startswith(f"modified {live}/hosts\n--- ")
    assert "after it" not in value["diff"]
    assert len(value["changed"]) == 2


def test_what_is_too_much_to_compare_is_told_by_size(pacha: Pacha, live: Path, told: Path) -> None:
    lines = [f"line {number}\n" for number in range(50_000)]
    (live / "hosts").write_text("".join(lines))
    capture(pacha)
    (live / "hosts").write_text("".join("x" + line if at % 2 else line for at, line in enumerate(lines)))
    (live / "zz").write_text("after it\n")
    started = time.monotonic()
    capture(pacha)
    assert time.monotonic() - started < 20
    first, second, *_ = text(told).splitlines()
    assert first.startswith(f"modified {live}/hosts: binary 538890 bytes, sha256 ")
    assert second == f"added {live}/zz"


def test_secrets_are_not_shown(pacha: Pacha, live: Path, told: Path) -> None:
    secrets = [f"{live}/shadow*", f"{live}/private/**"]
    pacha.config.write_text(f"{pacha.config.read_text()}[secrets]\npaths = {json.dumps(secrets)}\n")
    (live / "private").mkdir()
    for name in ("shadow", "private/key", "a plain name"):
        (live / name).write_text("PASSWORD\n")
    os.link(live / "private" / "key", live / "another name")
    os.link(live / "shadow", live / "zz")
    capture(pacha)
    said = text(told)
    for name in ("shadow", "private/key", "another name", "zz"):
        assert f"added {live}/{name}: content not shown, as [secrets] says\n" in said
    assert f"added {live}/private\n" in said
    assert said.count("PASSWORD") == 1
    (live / "shadow").write_text("OTHER PASSWORD\n")
    (live / "private" / "key").chmod(0o600)
    (live / "zz").unlink()
    (live / "hosts").write_text("shown\n")
    capture(pacha)
    said = text(told)
    assert "PASSWORD" not in said
    assert "+shown\n" in said
    assert "sha256" not in said
    assert f"metadata {live}/private/key: mode 0644 → 0600\n" in said
    assert f"removed {live}/zz: content not shown, as [secrets] says\n" in said
    modified = next(line for line in said.splitlines() if line.startswith(f"modified {live}/shadow"))
    assert modified.endswith("content not shown, as [secrets] says")


def test_a_damaged_store_leaves_the_hook_with_less(monkeypatch: pytest.MonkeyPatch) -> None:
    def render(*_: object) -> object:
        raise DamagedStore("a hole in it")

    notes: list[str] = []
    host = SimpleNamespace(
        config=SimpleNamespace(secrets_paths=[]),
        index=SimpleNamespace(get=lambda key: None),
        store=SimpleNamespace(history=lambda **_: iter(())),
        report=SimpleNamespace(note=notes.append),
    )
    monkeypatch.setattr(diff_text, "render", render)
    monkeypatch.setattr(diff_text, "last_of", lambda host: None)
    assert diff_text.diff_text(host, []) == {"diff": "", "diff_cut": True}  # type: ignore[arg-type]
    assert notes == ["the differences cannot be shown to hooks: a hole in it"]
