"""The first line of a parcel, read as what it is: the words of somebody who may mean harm.

Called by `pacha receive`, and by `pacha push` before it connects, so that both refuse the same. Every form
and every bound of what a deployment may say is here; what is true of the host is not. It must not look at any
file system.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from pacha.core.config import LARGEST_SENT
from pacha.core.entry import DIRECTORY, FILE, SYMLINK
from pacha.core.errors import Refused
from pacha.core.names import ancestors, is_below, unescape
from pacha.core.parcel import (
    FORMAT,
    MOMENTS,
    PLAIN,
    SIGNED_BY,
    ZLIB,
    Confirmation,
    Deployment,
    Item,
    Parcel,
    Script,
    Signed,
    Unit,
    Wishes,
    escaped,
)
from pacha.core.rules import is_temporary
from pacha.core.shown import shown

STATEMENT_AT_MOST = 4_000_000
SIGNATURE_AT_MOST = 65_536
# Of a statement that was signed each character takes two bytes at the most.
LINE_AT_MOST = 8_000_000 + 2 * (STATEMENT_AT_MOST + SIGNATURE_AT_MOST)
ITEMS_AT_MOST = 20_000
FILE_AT_MOST = LARGEST_SENT  # what a server keeps
CONTENTS_AT_MOST = 512_000_000
_PARTS_AT_MOST = 400_000  # brackets: each object or list may take fifty times what it is in the line
_PATH_AT_MOST = 4095
_NAME_AT_MOST = 255
_TEXT_AT_MOST = 256

_NAME = re.compile(r"[0-9A-Za-z_][0-9A-Za-z._-]{0,63}")
_HOOK = re.compile(r"[0-9A-Za-z_][0-9A-Za-z_+-]{0,63}(\.[0-9A-Za-z_]{1,8})?")
_PACKAGE = re.compile(r"[0-9A-Za-z_][0-9A-Za-z+._:@-]{0,127}")
_UNIT = re.compile(r"[0-9A-Za-z_][0-9A-Za-z:_.@\\-]{0,254}")
_ACCOUNT = re.compile(r"[^\x00-\x20\x7f:/,\ud800-\udfff]{0,64}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_TICKET = re.compile(r"[0-9a-f]{16}")
_NO_ACCOUNT = 0xFFFFFFFF  # to the kernel: leave it as it is
SHORTEST_WAIT_NS, LONGEST_WAIT_NS = 10**9, 24 * 3600 * 10**9
_OF_THE_KERNEL = (b"/proc", b"/sys", b"/dev")


# -- what single values may be, also for who checks a deployment by file and line ----------------------------


def is_deployment_name(text: str) -> bool:
    """Whether a deployment can have that name."""
    return bool(_NAME.fullmatch(text))


def is_package(text: str) -> bool:
    """Whether a package can have that name."""
    return bool(_PACKAGE.fullmatch(text))


def is_service(text: str) -> bool:
    """Whether a service can."""
    return bool(_UNIT.fullmatch(text))


def is_hook(text: str) -> bool:
    """Whether a hook can."""
    return bool(_HOOK.fullmatch(text))


def is_account(text: str) -> bool:
    """Whether it is the name or number of a user or group; empty: who it is by default."""
    is_number = text.isascii() and text.isdecimal()
    return bool(_ACCOUNT.fullmatch(text)) and not (is_number and int(text) >= _NO_ACCOUNT)


def is_path_pattern(text: str) -> bool:
    """Whether it can be one over whole paths; whether it is, `core/patterns` knows."""
    return text.startswith("/") and len(text) <= _PATH_AT_MOST and "\0" not in text


def path_fault(path: bytes) -> str:
    """Why nothing can be delivered or absent at an absolute path; empty where it can."""
    names = path.split(b"/")[1:]
    if len(path) > _PATH_AT_MOST or any(len(name) > _NAME_AT_MOST for name in names):
        return f"{shown(path)[:80]}… is too long a path"
    if any(is_below(path, top) for top in _OF_THE_KERNEL):
        return f"{shown(path)} belongs to the kernel"
    if any(is_temporary(name) for name in names):
        return f"{shown(path)} has the name of one of Pacha's own temporary files"
    return ""


# -- the line ----------------------------------------------------------------------------------------------


def parse_any(line: bytes) -> Parcel | Confirmation:
    """What begins with this line, every rule checked; raise Refused with what is wrong."""
    values = _first(line)
    if "confirm" not in values.given:
        return _parse_parcel(values)
    confirmation = Confirmation(values.matching("confirm", _TICKET))
    values.end()
    return confirmation


def parse(line: bytes) -> Parcel:
    """The parcel of a line; raise Refused with what is wrong."""
    return _parse_parcel(_first(line))


def _first(line: bytes) -> Values:
    """Its object, of a format that is known."""
    if len(line) > LINE_AT_MOST:
        raise refusal(f"its first line is longer than {LINE_AT_MOST:,} bytes")
    if line.count(b"[") + line.count(b"{") > _PARTS_AT_MOST:
        raise refusal("its first line has more parts than any deployment")
    if not line.endswith(b"\n"):
        raise refusal("it ended within its first line")
    try:
        values = Values(json.loads(line), "the first line")
    except (ValueError, RecursionError):
        raise refusal("its first line is no JSON object") from None
    if values.take("format", int) != FORMAT:
        raise Refused(
            f"the deployment comes in format {values.given['format']}, and this host takes {FORMAT}",
            hint="the same version of Pacha on both machines",
        )
    return values


def _parse_parcel(values: Values) -> Parcel:
    deployment = _parse_deployment(values.inner("deployment"))
    wishes = _parse_wishes(values.inner("push"))
    packing = values.one_of("packing", (PLAIN, ZLIB))
    signed = _parse_signed(values.inner("signed")) if "signed" in values.given else None
    values.end()
    return Parcel(deployment, wishes, packing, signed)


def _parse_signed(values: Values) -> Signed:
    statement, signature = values.take("statement", str), values.take("signature", str)
    for text, most in ((statement, STATEMENT_AT_MOST), (signature, SIGNATURE_AT_MOST)):
        if len(text) > most or not text.isascii() or "\0" in text:
            raise refusal(f"what was signed is no text of at most {most:,} bytes")
    values.end()
    return Signed(statement, signature)


def _parse_wishes(values: Values) -> Wishes:
    by = values.text("by")
    if SIGNED_BY in by:
        raise refusal("who pushes does not say who signed")
    dry_run, force, diff = (values.take(name, bool) for name in ("dry_run", "force", "diff"))
    confirm_ns, ticket = values.take("confirm_ns", int), values.take("ticket", str)
    if confirm_ns and not SHORTEST_WAIT_NS <= confirm_ns <= LONGEST_WAIT_NS:
        raise refusal("it is to be confirmed within a second at least, and a day at most")
    if (confirm_ns or ticket) and not (confirm_ns and _TICKET.fullmatch(ticket)):
        raise refusal("what is to be confirmed has a time and a ticket")
    values.end()
    return Wishes(by, dry_run, force, diff, confirm_ns, ticket)


def _parse_deployment(values: Values) -> Deployment:
    found = Deployment(
        values.matching("name", _NAME),
        values.text("revision"),
        tuple(_parse_item(each) for each in values.inners("items")),
        tuple(_path(text) for text in values.list_of("absent", str)),
        tuple(values.all_matching("packages", _PACKAGE)),
        tuple(_parse_unit(each) for each in values.inners("restart")),
        tuple(_parse_unit(each) for each in values.inners("reload")),
        tuple(_parse_hook(each) for each in values.inners("hooks")),
    )
    values.end()
    _check_paths(found)
    _check_contents(found)
    return found


def _parse_item(values: Values) -> Item:
    path = _path(values.take("path", str))
    values.where = shown(path)
    kind = values.take("kind", str).encode("ascii", "replace")
    if kind not in (FILE, DIRECTORY, SYMLINK):
        raise refusal(f"{shown(path)} is neither file, directory nor symbolic link")
    mode = values.matching("mode", re.compile("[0-7]{4}"))
    owner = values.matching("user", _ACCOUNT), values.matching("group", _ACCOUNT)
    for number in owner:
        if not is_account(number):
            raise refusal(f"{number[:80]} of {shown(path)} is no number of a user or group")
    item = Item(path, kind, int(mode, 8), *owner)
    if kind == FILE:
        item = item._replace(sha256=values.matching("sha256", _SHA256), size=values.size("size"))
    elif kind == SYMLINK:
        item = item._replace(target=_target(path, values.take("target", str)))
    values.end()
    return item


def _parse_hook(values: Values) -> Script:
    moment = values.one_of("moment", MOMENTS)
    hook = Script(
        moment, values.matching("name", _HOOK), values.matching("sha256", _SHA256), values.size("size")
    )
    values.end()
    return hook


def _parse_unit(values: Values) -> Unit:
    unit = Unit(values.matching("name", _UNIT), tuple(values.list_of("paths", str)))
    values.end()
    for pattern in unit.paths:
        if not is_path_pattern(pattern):
            raise refusal(f"{pattern[:80]!a} is no pattern of paths")
    return unit


def _path(text: str) -> bytes:
    """An absolute path in its one form, which no `..` leads out of."""
    path = _bytes(text)
    names = path.split(b"/")[1:]
    if not path.startswith(b"/") or any(name in (b"", b".", b"..") for name in names) or b"\0" in path:
        raise refusal(f"{text[:80]!a} is not an absolute path in its plain form")
    if fault := path_fault(path):
        raise refusal(fault)
    return path


def _target(path: bytes, text: str) -> bytes:
    target = _bytes(text)
    if not target or len(target) > _PATH_AT_MOST or b"\0" in target:
        raise refusal(f"the target of {shown(path)} is none")
    depth = 0 if target.startswith(b"/") else path.count(b"/") - 1
    for name in target.split(b"/"):
        depth += (name not in (b"", b".", b"..")) - (name == b"..")
        if depth < 0:
            raise refusal(f"{shown(path)} is a link that leads out of the root: {shown(target)}")
    return target


def _bytes(text: str) -> bytes:
    try:
        found = unescape(text.encode("ascii"))
    except ValueError:
        found = b""
    if escaped(found) != text:
        raise refusal(f"{text[:80]!a} is not escaped as a path is")
    return found


def _check_paths(deployment: Deployment) -> None:
    """No path twice, and nothing below what is no directory, or is to be absent."""
    kinds: dict[bytes, bytes] = {}
    absent = [(path, b"absent") for path in deployment.absent]
    for path, kind in [*((item.path, item.kind) for item in deployment.items), *absent]:
        if path in kinds:
            raise refusal(f"{shown(path)} comes twice")
        kinds[path] = kind
    for path, kind in kinds.items():
        for above in ancestors(path):
            if kinds.get(above, DIRECTORY) != DIRECTORY and (kind, kinds[above]) != (b"absent", b"absent"):
                raise refusal(f"{shown(path)} lies below {shown(above)}, which will be no directory")
    hooks = [hook[:2] for hook in deployment.hooks]
    if len(hooks) != len(set(hooks)):
        raise refusal("a hook comes twice")


def _check_contents(deployment: Deployment) -> None:
    sizes: dict[str, int] = {}
    files = ((item.sha256, item.size) for item in deployment.items if item.kind == FILE)
    for digest, size in [*files, *((hook.sha256, hook.size) for hook in deployment.hooks)]:
        if sizes.setdefault(digest, size) != size:
            raise refusal("one content has two sizes")
    if sum(sizes.values()) > CONTENTS_AT_MOST:
        raise refusal(f"its contents are more than {CONTENTS_AT_MOST:,} bytes")


class Values:
    """A JSON object being taken apart: each key is asked for once, and none may be left. `where` names it in
    messages.
    """

    def __init__(self, given: Any, where: str) -> None:
        if not isinstance(given, dict):
            raise refusal(f"{where} is no object")
        self.given: dict[str, Any] = given
        self.where = where
        self._left = set(given)

    def take(self, key: str, kind: type) -> Any:
        value = self.given.get(key)
        if type(value) is not kind:
            raise refusal(f"{key!r} of {self.where} is missing or of another type")
        self._left.discard(key)
        return value

    def matching(self, key: str, form: re.Pattern[str]) -> str:
        value: str = self.take(key, str)
        if not form.fullmatch(value):
            raise refusal(f"{key} {value[:80]!a} of {self.where} has not the form that it must have")
        return value

    def one_of(self, key: str, words: Sequence[str]) -> str:
        value: str = self.take(key, str)
        if value not in words:
            raise refusal(f"{key} {value[:80]!a} of {self.where} is none of {', '.join(words)}")
        return value

    def text(self, key: str) -> str:
        value: str = self.take(key, str)
        if len(value) > _TEXT_AT_MOST or not value.isprintable():
            raise refusal(f"{key!r} of {self.where} is no short text")
        return value

    def size(self, key: str) -> int:
        value: int = self.take(key, int)
        if not 0 <= value <= FILE_AT_MOST:
            raise refusal(f"{self.where} has {value:,} bytes, and at most {FILE_AT_MOST:,} are taken")
        return value

    def list_of(self, key: str, kind: type) -> list[Any]:
        values: list[Any] = self.take(key, list)
        if len(values) > ITEMS_AT_MOST or any(type(value) is not kind for value in values):
            raise refusal(f"{key!r} of {self.where} is no list, or holds more than {ITEMS_AT_MOST:,}")
        return values

    def all_matching(self, key: str, form: re.Pattern[str]) -> list[str]:
        for value in self.list_of(key, str):
            if not form.fullmatch(value):
                raise refusal(f"{value[:80]!a} in {key!r} has not the form that it must have")
        return list(self.given[key])

    def inner(self, key: str) -> Values:
        return Values(self.take(key, dict), key)

    def inners(self, key: str) -> list[Values]:
        return [Values(value, f"an entry of {key!r}") for value in self.list_of(key, dict)]

    def end(self) -> None:
        """Nothing may be passed over that might matter."""
        if self._left:
            raise Refused(
                f"the parcel is refused: {self.where} has a {min(self._left)[:80]!a}, which is unknown here",
                hint="the same version of Pacha on both machines",
            )


def refusal(words: str) -> Refused:
    """The error for a parcel that is not taken."""
    return Refused(f"the parcel is refused: {words}")
