"""Digests are SHA-256, whoever makes them; a process that has little to digest does not load OpenSSL."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

CODE = """
import json, sys
if {without_own}:
    sys.modules["_sha256"] = sys.modules["_sha2"] = None
from pacha.core.digests import hexdigest
found = []
for size in json.loads(sys.argv[1]):
    found.append([hexdigest(b"x" * size), "_hashlib" in sys.modules])
print(json.dumps(found))
"""


def made(sizes: list[int], without_own: bool = False) -> list[tuple[str, bool]]:
    """(digest, whether OpenSSL is loaded by then) of contents of these sizes, one after the other."""
    words = [sys.executable, "-c", CODE.format(without_own=without_own), json.dumps(sizes)]
    done = subprocess.run(words, capture_output=True, check=True)
    return [(digest, is_loaded) for digest, is_loaded in json.loads(done.stdout)]


def of_coreutils(size: int) -> str:
    """The same by another program."""
    done = subprocess.run(["sha256sum"], input=b"x" * size, capture_output=True, check=True)
    return done.stdout.decode().split()[0]


@pytest.mark.parametrize("without_own", [False, True])
def test_every_digest_is_sha256(without_own: bool) -> None:
    sizes = [0, 1, 64, 400_000, 500_000, 700_000, 3, 5_000_000]
    assert [digest for digest, _ in made(sizes, without_own)] == [of_coreutils(size) for size in sizes]


def test_a_process_that_digests_little_does_not_wait_for_openssl() -> None:
    pytest.importorskip("_sha256" if sys.version_info < (3, 12) else "_sha2")
    assert [is_loaded for _, is_loaded in made([2_000, 2_000, 900_000, 200_000])] == [
        False,
        False,
        False,
        True,
    ]
