"""Facts: what system this is and what was installed on purpose, kept where it changed since the last capture.

Called by `ops/capture` for every capture. Whether a package manager was at work is told by the status of its
files, compared with the one in the index; only then anything is read or asked. What cannot be told stays in
the history as it was: no capture fails for that.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

from pacha.core import facts
from pacha.core.errors import DamagedStore, Failed
from pacha.core.facts import Facts
from pacha.core.names import FACTS
from pacha.core.owed import OWED
from pacha.core.revision import Revision
from pacha.core.rules import RULES
from pacha.core.secrets import SECRETS
from pacha.ops.host import Host, Past
from pacha.ops.tip import last_of

_SIGNATURE, _TEXTS = "facts", "facts-texts"
_PREFIX = FACTS + b"/"
_OTHERS = (RULES, SECRETS, OWED)  # which are no facts about the system


class NewFacts(NamedTuple):
    """`texts` are to be stored, an empty one removed; `values` go into the index, and `words` tell of it."""

    texts: dict[bytes, bytes]
    values: dict[str, bytes]
    words: str


NONE = NewFacts({}, {}, "")


def new_facts(host: Host) -> NewFacts:
    """What is another than the newest revision has it; the index must agree with the store."""
    signature = host.system.signature()
    if not signature:
        return NONE
    signature += b"|" + "|".join(host.config.packages).encode()
    if host.index.get(_SIGNATURE) == signature:
        return NONE
    known = host.index.get(_TEXTS)
    last = last_of(host)
    before = _loaded(known) if known is not None else stored_facts(host, last.position if last else -1)
    try:
        after = facts.render(host.system.facts(host.config.packages, partial(_is_taken, host)))
    except Failed as problem:
        host.report.note(f"{problem} ({problem.hint})")
        return NONE
    texts = {path: text for path, text in after.items() if before.get(path) != text}
    texts.update((path, b"") for path in before if path not in after)
    values = {_SIGNATURE: signature, _TEXTS: _dumped(after)}
    return NewFacts(texts, values, facts.describe(before, after) if texts and before else "")


def _is_taken(host: Host, path: bytes) -> bool:
    """Whether a file of a package manager's is captured as itself, or must not be kept in the clear."""
    return host.rules.covers(path) or host.secrets.named.covers(path)


def stored_facts(host: Past, position: int) -> dict[bytes, bytes]:
    """`{store path: text}` of a revision, but for the rules, the recipients of secrets, and what is owed."""
    if position < 0:
        return {}
    files = {p: n for p, n in host.store.files(position, [_PREFIX]).items() if p not in _OTHERS}
    contents = host.store.contents(list(files.items()))
    return {path: text or b"" for path, text in zip(files, contents, strict=True)}


def facts_at(source: Past, revision: Revision) -> Facts:
    """What it has of the system then; raise DamagedStore where that makes no sense."""
    try:
        return facts.parse(stored_facts(source, revision.position))
    except ValueError as problem:
        raise damaged(source, revision, f"its facts make no sense: {problem}") from problem


def damaged(source: Past, revision: Revision, words: str) -> DamagedStore:
    """The error for a history that says what could not be."""
    hint = "nothing was written; another copy of that history may be whole"
    return DamagedStore(f"{source.name} at {revision.id} cannot be taken: {words}", hint=hint)


def _dumped(texts: Mapping[bytes, bytes]) -> bytes:
    import json

    return json.dumps(
        {path.decode("latin-1"): text.decode("latin-1") for path, text in texts.items()}
    ).encode()


def _loaded(text: bytes) -> dict[bytes, bytes]:
    import json

    return {path.encode("latin-1"): value.encode("latin-1") for path, value in json.loads(text).items()}
