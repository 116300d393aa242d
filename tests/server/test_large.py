"""The largest contents: what a host stores its server takes, and what it would not take is not stored."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pacha.core.config import LARGEST_SENT
from tests.server.clients import Sending
from tests.server.hub import Hub

LIMIT = '\n[capture]\nmax_file_size = "200MB"\n'


@pytest.fixture
def host(own: Hub) -> Sending:
    host = Sending(own)
    with open(host.pacha.config, "a") as config:
        config.write(LIMIT)
    return host


def larger(path: Path, size: int) -> None:
    """A file of noise, which no compression makes smaller."""
    with open(path, "wb") as file:
        for start in range(0, size, 1 << 20):
            file.write(os.urandom(min(1 << 20, size - start)))


def test_the_largest_content_arrives_and_its_changes_too(host: Sending) -> None:
    larger(host.tree / "large", LARGEST_SENT)
    host.sent("one\n")
    with open(host.tree / "large", "r+b") as file:
        file.seek(LARGEST_SENT // 2)
        file.write(b"an edit")
    host.sent("two\n")
    (host.tree / "large").write_bytes(bytes(LARGEST_SENT))
    host.sent("three\n")
    assert host.here() == host.there()
    assert host.pacha.ok("status")["skipped"] == []


def test_a_larger_one_is_told_and_holds_nothing_up(host: Sending) -> None:
    larger(host.tree / "large", LARGEST_SENT + 1)
    host.sent("one\n")
    (skipped,) = host.pacha.ok("status")["skipped"]
    assert skipped["path"] == str(host.tree / "large")
    assert "larger" in skipped["reason"]
    assert host.here() == host.there()


@pytest.mark.parametrize("size", [66_000_000, pytest.param(110_000_000, marks=pytest.mark.soak)])
def test_what_was_stored_before_there_was_a_server_is_told_with_the_way_out(host: Sending, size: int) -> None:
    host.configure("[]")
    with open(host.pacha.config, "a") as config:
        config.write(LIMIT)
    larger(host.tree / "large", size)
    host.pacha.ok("capture")
    host.configure()
    told = host.capture("one\n")
    assert told.code == 3, told
    (words,) = [server["error"] for server in told.json["servers"]]
    assert "large is larger than" in words
    command = words.partition("(")[2].partition(" takes it")[0].split()
    assert command[:2] == ["pacha", "forget"]
    assert host.pacha.run(*command[1:], "-y").code in (0, 3)
    host.sent("two\n")
    assert host.here() == host.there()
    assert "the store is sound" in host.pacha.run("verify").out
