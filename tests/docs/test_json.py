"""Every field that a command prints with `--json` is documented, in the section of that command."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from pacha.cli.main import VERBS
from pacha.core.parcel import Wishes
from tests.docs.pages import DOCS, Sandbox
from tests.receive.parcels import Target, file, stream

PAGE = (DOCS / "reference" / "json.md").read_text()
GENERAL = PAGE.partition("\n## ")[0]
_CODE = re.compile(r"`([^`\n]+)`")


def section(name: str, seen: frozenset[str] = frozenset()) -> str:
    """What stands under a verb's heading, and under those that it refers to."""
    body = PAGE.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
    more = [section(other, seen | {name}) for other in re.findall(r"\(#(\w+)\)", body) if other not in seen]
    return "\n".join([body, *more])


def documented(text: str) -> set[str]:
    """Every word in backticks, those of `{a, b}` too."""
    return {word for span in _CODE.findall(text) for word in re.findall(r"\w+", span)}


def fields(value: object) -> Iterator[str]:
    """The keys of an object and of all objects in it."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from fields(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from fields(inner)


def test_every_field_of_every_command_is_documented(tmp_path: Path) -> None:
    host = Sandbox(tmp_path)
    printed: dict[str, set[str]] = {}

    def pacha(*words: str) -> dict[str, object]:
        found = host.pacha(*words)
        printed.setdefault(words[0], set()).update(fields(found))
        return found

    hook = host.config.parent / "hooks" / "pre-capture" / "10-fine"
    hook.parent.mkdir(parents=True)
    hook.write_text("#!/bin/sh\necho fine\n")
    for path in (hook, hook.parent, hook.parent.parent):
        path.chmod(0o755)
    first = pacha("watch", "/etc", "/root")["revision"]
    (host.root / "etc" / "motd").write_bytes(b"\xff\n")
    (host.root / "etc" / "big").write_bytes(b"\0" * 10_000_001)
    (host.root / "etc" / "hosts").chmod(0o600)
    pacha("diff")
    pacha("status")
    pacha("capture", "-m", "why")
    pacha("cat", "/etc/motd")
    pacha("cat", "/etc/hostname")
    pacha("blame", "/etc/motd")
    pacha("blame", "/etc/hostname")
    pacha("log")
    pacha("show", str(first))
    pacha("rollback", "/etc/motd", "--to", str(first), "-n")
    (host.root / "etc" / "motd").write_text("gone with the next line\n")
    pacha("rebuild", "-n")
    pacha("rebuild", "-y")
    waits = pacha("rollback", "/etc/motd", "--to", str(first), "-y", "--confirm", "1h")["confirm"]
    pacha("status")
    pacha("confirm", str(waits))
    pacha("forget", "/etc/motd", "-y")
    (host.root / "etc" / "hosts").write_text("other\n")
    pacha("verify")
    pacha("change", "begin", "-m", "maintenance")
    pacha("change", "end")
    pacha("agent", "--once")
    with open(host.config, "a", encoding="utf-8") as file:
        file.write('[secrets]\npaths = ["/etc/hosts"]\n')
    pacha("secrets", "rekey", "-n")
    pacha("capture")
    pacha("secrets", "rekey")
    pacha("unwatch", "/root")
    pacha("doctor")
    pacha("config")
    pacha("config", "--check")
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFEr7gk9vTHrWjkWpuFv0r5cOAVBXPjXDMzPTbWl6x9T"
    (host.root / "key.pub").write_text(key)
    pacha("server", "init")
    pacha("host", "add", "web1", "--key", f"{host.root}/key.pub")
    pacha("host", "list")
    pacha("host", "rekey", "web1", "--key", f"{host.root}/key.pub")
    pacha("host", "reset", "web1")
    pacha("host", "remove", "web1")
    key = f"ssh-ed25519 {key.split()[1]}"
    pacha("join", "hub", "--host-key", key)
    printed["error"] = set(fields(host.pacha("show", "nothing")))
    host.close()

    # The first two speak a protocol; for the others, tests/push and tests/pull.
    elsewhere = {"serve", "receive", "push", "pull", "sign"}
    assert set(printed) == {*VERBS, "error"} - elsewhere
    unknown = {
        verb: missing
        for verb, names in printed.items()
        if (missing := names - documented(GENERAL) - documented(section(verb)))
    }
    assert not unknown


def test_every_verb_has_a_section() -> None:
    assert re.findall(r"^## (\w+)$", PAGE, re.MULTILINE) == list(VERBS)


def test_every_field_that_a_push_is_answered_is_documented(tmp_path: Path) -> None:
    host = Target(tmp_path)
    hooks = {"post-push/1": b"echo fine\n"}
    answers = [host.receive(stream([file("/etc/a", b"a\n")], hooks=hooks, wishes=Wishes("a", diff=True)))]
    host.put("/etc/a", b"by hand\n")
    answers.append(host.receive(stream([file("/etc/a", b"b\n")])))
    told = {name for answer in answers for line in answer.lines for name in fields(line)}
    assert not told - documented(GENERAL) - documented(section("receive"))
