"""Keys, lists of who may sign, and statements made by hand: real ones, by the machine's own ssh-keygen.

Nothing here is Pacha's but the digest of a deployment, which is no secret: who attacks can compute it, too.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pacha.core.parcel import Parcel, Signed, digest_of, render
from pacha.core.parcel_line import parse
from tests.sshd import make_key

HOUR = 3600
SIGNERS = "/etc/pacha/allowed_signers"


def key(folder: Path, name: str) -> Path:
    """A private key of that name, made when first asked for."""
    path = folder / f"key_{name}"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        make_key(path)
    return path


def allowed(*people: tuple[str, Path], options: str = "") -> str:
    """A list of who may sign: `(principal, private key)`."""
    lines = []
    for principal, private in people:
        words = private.with_name(private.name + ".pub").read_text().split()
        lines.append(" ".join([principal, *([options] if options else []), *words[:2]]))
    return "".join(f"{line}\n" for line in lines)


def sign(text: str, private: Path, namespace: str = "pacha") -> str:
    """The armoured signature of a text."""
    words = ["ssh-keygen", "-q", "-Y", "sign", "-n", namespace, "-f", str(private)]
    return subprocess.run(words, input=text.encode(), capture_output=True, check=True).stdout.decode()


def time_words(seconds: float) -> str:
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def digest_in(stream: bytes) -> str:
    """The digest of the deployment that a stream brings."""
    return digest_of(parse(stream.partition(b"\n")[0] + b"\n").deployment)


def statement(hosts: Mapping[str, str], *, serial: int, begin: float, until: float, **changed: Any) -> str:
    """The text that is signed: as the design has it, written down here once more."""
    values = {
        "format": 1, "kind": "pacha deployment", "deployment": "web", "serial": serial,
        "from": time_words(begin), "until": time_words(until), "hosts": dict(hosts), "contents": {},
        **changed,
    }  # fmt: skip
    return json.dumps(values, sort_keys=True, indent=1) + "\n"


def with_signature(stream: bytes, text: str, signature: str) -> bytes:
    """The same stream, and what somebody signed."""
    line, _, contents = stream.partition(b"\n")
    parcel = parse(line + b"\n")
    whole = Parcel(parcel.deployment, parcel.wishes, parcel.packing, Signed(text, signature))
    return render(whole) + contents
