"""The parcel: what a push sends to one host, or a server to one that pulls, as one stream.

Made by `pacha push`, or the server that a host pulls from; `core/parcel_line` reads what comes, and
`core/parcel_contents` packs and unpacks what follows. It must not look at any file system.

The stream is one line of JSON, then the contents. The line has four parts:

    {"format": 1, "deployment": {…}, "push": {…}, "packing": "zlib"}

`deployment` is what the host shall be, with the digest of every file and hook: `digest_of` is that of its
bytes, so that a signature over it covers everything that takes effect. `push` is what is asked this time. A
deployment that somebody signed has a fifth part, `"signed": {"statement": "…", "signature": "…"}`: what
`core/signed` tells, as text, and the armoured SSH signature over its bytes. The contents are those of the
files, then of the hooks, in that order, each distinct one once, one right behind the other; all of
them together are one zlib stream where `packing` says so.

Paths and the targets of links are bytes: printable ASCII stands for itself, `%` and all else is
percent-escaped.

A push that is to be confirmed is followed by a second stream, over another connection, of one line:

    {"format": 1, "confirm": "0123456789abcdef"}
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from pacha.core.digests import hexdigest
from pacha.core.entry import FILE, SYMLINK
from pacha.core.names import escape_all

FORMAT = 1
MOMENTS = ("pre-push", "check", "post-push", "on-failure")
PLAIN, ZLIB = "none", "zlib"
SIGNED_BY = "signed by"  # in the history: what follows is true, and no pusher's word
_REVISION_DIGITS = 12


class Item(NamedTuple):
    """A file, directory or symbolic link to be. An empty `user` or `group`: root's, or, where Pacha does not
    run as root, its own. A number stands for who has none but that.
    """

    path: bytes
    kind: bytes
    mode: int
    user: str = ""
    group: str = ""
    sha256: str = ""  # of a file
    size: int = 0
    target: bytes = b""  # of a link


class Script(NamedTuple):
    """A hook that comes with the deployment."""

    moment: str
    name: str
    sha256: str
    size: int


class Unit(NamedTuple):
    """A service to restart or reload where a path changed that one of `paths` matches; none: any path."""

    name: str
    paths: tuple[str, ...] = ()


class Deployment(NamedTuple):
    """What one host shall be, its templates filled in; `revision` is the deployment's own, in its words."""

    name: str
    revision: str = ""
    items: tuple[Item, ...] = ()
    absent: tuple[bytes, ...] = ()
    packages: tuple[str, ...] = ()
    restart: tuple[Unit, ...] = ()
    reload: tuple[Unit, ...] = ()
    hooks: tuple[Script, ...] = ()

    def contents(self) -> dict[str, int]:
        """The size of each distinct content by its digest, in the order in which they are sent."""
        files = ((item.sha256, item.size) for item in self.items if item.kind == FILE)
        return dict([*files, *((hook.sha256, hook.size) for hook in self.hooks)])


class Wishes(NamedTuple):
    """What is asked this time; `by` is who pushes, in words for the history. With `confirm_ns` it is undone
    after that time, unless who has the `ticket` connects once more and says that it stays.
    """

    by: str = ""
    dry_run: bool = False
    force: bool = False
    diff: bool = False
    confirm_ns: int = 0
    ticket: str = ""


class Signed(NamedTuple):
    """What somebody signed, to the byte, and the signature; both ASCII."""

    statement: str
    signature: str


class Parcel(NamedTuple):
    """A deployment on its way to one host."""

    deployment: Deployment
    wishes: Wishes = Wishes()
    packing: str = PLAIN
    signed: Signed | None = None


class Confirmation(NamedTuple):
    """What came with this ticket stays."""

    ticket: str


def render_confirmation(confirmation: Confirmation) -> bytes:
    """Its whole stream."""
    return _dumped({"format": FORMAT, "confirm": confirmation.ticket}) + b"\n"


def render(parcel: Parcel) -> bytes:
    """The line at the beginning of the stream."""
    values = {
        "format": FORMAT,
        "deployment": _deployment_values(parcel.deployment),
        "push": parcel.wishes._asdict(),
        "packing": parcel.packing,
    }
    if parcel.signed is not None:
        values["signed"] = parcel.signed._asdict()
    return _dumped(values) + b"\n"


def digest_of(deployment: Deployment) -> str:
    """SHA-256 of everything that takes effect: the revision is words."""
    values = _deployment_values(deployment._replace(revision=""))
    return hexdigest(_dumped(values))


def revision_of(deployment: Deployment) -> str:
    """What a deployment's revision is called by whoever renders it."""
    return digest_of(deployment)[:_REVISION_DIGITS]


def _dumped(values: dict[str, Any]) -> bytes:
    return json.dumps(values, sort_keys=True, separators=(",", ":")).encode("ascii")


def _deployment_values(deployment: Deployment) -> dict[str, Any]:
    return {
        "name": deployment.name,
        "revision": deployment.revision,
        "items": [_item_values(item) for item in deployment.items],
        "absent": [escaped(path) for path in deployment.absent],
        "packages": list(deployment.packages),
        "restart": [unit._asdict() for unit in deployment.restart],
        "reload": [unit._asdict() for unit in deployment.reload],
        "hooks": [hook._asdict() for hook in deployment.hooks],
    }


def _item_values(item: Item) -> dict[str, Any]:
    values: dict[str, Any] = {
        "path": escaped(item.path), "kind": item.kind.decode(), "mode": f"{item.mode:04o}",
        "user": item.user, "group": item.group,
    }  # fmt: skip
    if item.kind == FILE:
        values |= {"sha256": item.sha256, "size": item.size}
    elif item.kind == SYMLINK:
        values |= {"target": escaped(item.target)}
    return values


def escaped(path: bytes) -> str:
    """A path as it stands in the line."""
    return escape_all(path).decode()
