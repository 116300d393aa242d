"""Keys, lists of who may sign, and statements made by hand: real ones, by the machine's own ssh-keygen.

Nothing here is Pacha's but the digest of a deployment, which is no secret: who attacks can compute it, too.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pacha.core.parcel import Parcel, Signed, digest_of, render, revision_of
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
    deployment = parcel.deployment
    if not deployment.revision:  # as whoever renders one calls it
        deployment = deployment._replace(revision=revision_of(deployment))
    whole = Parcel(deployment, parcel.wishes, parcel.packing, Signed(text, signature))
    return render(whole) + contents


@dataclass
class Person:
    """Somebody with a key, and with a clock of his own that he can set."""

    private: Path
    serial: int = 0
    now: float = field(default_factory=time.time)

    def signed(self, stream: bytes, *hosts: str, **changed: Any) -> bytes:
        """A stream that he signed for these hosts, for thirty days from now; `serial`, `begin`, `until`,
        `namespace`, `digest` and whatever else stands in a statement can be others.
        """
        return with_signature(stream, *self.words(stream, *hosts, **changed))

    def words(self, stream: bytes, *hosts: str, **changed: Any) -> tuple[str, str]:
        """(the statement, its signature)."""
        self.serial = changed.pop("serial", max(self.serial + 1, int(self.now)))
        begin = changed.pop("begin", self.now)
        until = changed.pop("until", begin + 30 * 24 * HOUR)
        namespace = changed.pop("namespace", "pacha")
        found = changed.pop("digest", None) or digest_in(stream)
        name = parse(stream.partition(b"\n")[0] + b"\n").deployment.name
        named = dict.fromkeys(hosts or ("web1",), found)
        values = {"deployment": name, **changed}
        text = statement(named, serial=self.serial, begin=begin, until=until, **values)
        return text, sign(text, self.private, namespace)


def ask_for_signatures(config: Path, root: Path, text: str, path: str = SIGNERS) -> None:
    """Have a host take only what these have signed."""
    place = root / path.lstrip("/")
    place.parent.mkdir(parents=True, exist_ok=True)
    for above in (root, *reversed(place.relative_to(root).parents[:-1])):
        (root / above).chmod(0o755)
    place.write_text(text)
    place.chmod(0o644)
    config.write_text(config.read_text() + f'[push]\nallowed_signers = "{path}"\n')
