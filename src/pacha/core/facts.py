"""What a host's store tells beside its files: the system it runs, and what was installed on purpose.

Called by `ops/facts` (which keeps them with each revision where they changed), the adapters of the package
managers (which make them) and `ops/rebuild` (which goes by them). Texts in `facts/`, one fact a line, values
escaped like the rules':

    facts/os              id debian · version 12 · name Debian GNU/Linux 12 (bookworm) · machine x86_64
    facts/packages/apt    nginx-light 1.22.1-9+deb12u1 · linux-image-amd64 6.1.137-1 held
    facts/wanted          postgresql               ([rebuild] packages of the configuration)
    facts/repositories/…  a key or a list of a package manager that no watch covers, as it is

It must not look at a system: what is read and run is the adapters' business.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from pacha.core.names import FACTS, decode_path, encode_path, escape, unescape

OS = FACTS + b"/os"
WANTED = FACTS + b"/wanted"
_PACKAGES = FACTS + b"/packages/"
_REPOSITORIES = FACTS + b"/repositories/"
_SHOWN_AT_MOST = 5
HELD, AUTOMATIC = b"held", b"automatic"


class Package(NamedTuple):
    """One installed package. An automatic one, which came as another's dependency, is told of where it is
    held.
    """

    version: bytes
    is_held: bool = False
    is_automatic: bool = False


class Facts(NamedTuple):
    """All of a revision; `packages` by family (`apt`) and name, `repositories` are contents by host path."""

    os: dict[str, str]
    packages: dict[str, dict[bytes, Package]]
    wanted: tuple[bytes, ...]
    repositories: dict[bytes, bytes]


def render(facts: Facts) -> dict[bytes, bytes]:
    """`{store path: text}`; a fact without content has no file."""
    texts = {
        OS: _lines(f"{key} {value}".encode("utf-8", "surrogateescape") for key, value in facts.os.items())
    }
    texts[WANTED] = _lines(sorted(facts.wanted))
    for family, packages in facts.packages.items():
        texts[_PACKAGES + family.encode()] = _lines(
            _package_line(name, packages[name]) for name in sorted(packages)
        )
    for path, content in facts.repositories.items():
        texts[_REPOSITORIES + encode_path(path)] = content
    return {path: text for path, text in texts.items() if text}


def _lines(values: Iterable[bytes]) -> bytes:
    return b"".join(escape(value) + b"\n" for value in values)


def _package_line(name: bytes, package: Package) -> bytes:
    marks = [HELD] * package.is_held + [AUTOMATIC] * package.is_automatic
    return b" ".join([name, package.version, *marks])


def parse(texts: Mapping[bytes, bytes]) -> Facts:
    """Undo `render`, passing over what a later version may have added. Raise ValueError for no such text."""
    facts = Facts({}, {}, (), {})
    for path, text in texts.items():
        if path == OS:
            facts.os.update(_pair(line) for line in text.splitlines())
        elif path == WANTED:
            facts = facts._replace(wanted=tuple(_word(unescape(line)) for line in text.splitlines()))
        elif path.startswith(_PACKAGES):
            family = path.removeprefix(_PACKAGES).decode("utf-8", "replace")
            facts.packages[family] = dict(_package(line) for line in text.splitlines())
        elif path.startswith(_REPOSITORIES):
            facts.repositories[decode_path(path.removeprefix(_REPOSITORIES))] = text
    return facts


def _pair(line: bytes) -> tuple[str, str]:
    key, _, value = unescape(line).decode("utf-8", "surrogateescape").partition(" ")
    return key, value


def _package(line: bytes) -> tuple[bytes, Package]:
    name, version, *marks = unescape(line).split(b" ")
    package = Package(_word(version) if version else version, HELD in marks, AUTOMATIC in marks)
    return _word(name), package


def _word(text: bytes) -> bytes:
    """What becomes a word of a package manager's command line; raise ValueError for what is no name there."""
    if not text or text.startswith(b"-") or any(byte <= 0x20 or byte == 0x7F for byte in text):
        raise ValueError("a package of a name that no package has")
    return text


def describe(before: Mapping[bytes, bytes], after: Mapping[bytes, bytes]) -> str:
    """What became of the packages between two renderings: `nginx-light installed, telnet removed`."""
    old, new = parse(before).packages, parse(after).packages
    words = []
    for family in sorted(old.keys() | new.keys()):
        was, is_now = old.get(family, {}), new.get(family, {})
        for name in sorted(was.keys() | is_now.keys()):
            word = _difference(was.get(name), is_now.get(name))
            words += [f"{name.decode('utf-8', 'replace')} {word}"] if word else []
    if not words:
        return "the system is another one" if before.get(OS) != after.get(OS) else "repositories changed"
    more = f" and {len(words) - _SHOWN_AT_MOST:,} more" if len(words) > _SHOWN_AT_MOST else ""
    return ", ".join(words[:_SHOWN_AT_MOST]) + more


def _difference(was: Package | None, now: Package | None) -> str:
    if was == now:
        return ""
    if was is None:
        return "installed"
    if now is None:
        return "removed"
    if was.version != now.version:
        return f"now {now.version.decode('utf-8', 'replace')}"
    return "held" if now.is_held else "no longer held" if was.is_held else "marked otherwise"
