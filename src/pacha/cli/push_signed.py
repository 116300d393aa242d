"""What goes with a push of what somebody has signed, and what is told where that would be of no use.

Called by the verb `push`, before it connects. Whether a host asks for signatures is not known here: what does
not fit is not sent, so that who does not ask takes the deployment as ever. A part of the verb, and no verb.
"""

from __future__ import annotations

from collections.abc import Mapping

from pacha.cli.reaching import SignedFiles
from pacha.cli.session import Session
from pacha.core.deployment import SIGNATURE_FILE, STATEMENT_FILE, Rendered
from pacha.core.destinations import host_of
from pacha.core.errors import PachaError, Refused
from pacha.core.parcel import Signed

_SHOWN_HOSTS = 5


def signed_for(session: Session, folder: str, rendered: Mapping[str, Rendered]) -> dict[str, Signed]:
    """By destination, what was signed and holds for it; notes say of the others why it does not."""
    files = SignedFiles(folder)
    try:
        statement, signature = files.read()
        if not statement:
            return {}
        return _fitting(session, folder, files, rendered, statement, signature)
    except (PachaError, UnicodeDecodeError) as problem:
        words = str(problem) if isinstance(problem, PachaError) else "it is no text"
        session.report.note(f"{folder} goes without its signature: {words}; {_again(folder)}")
        return {}


def _fitting(
    session: Session,
    folder: str,
    files: SignedFiles,
    rendered: Mapping[str, Rendered],
    text: bytes,
    signature: bytes,
) -> dict[str, Signed]:
    from pacha.core.signed import doubts, parse

    if not files.key_of(text, signature):
        raise Refused(f"{SIGNATURE_FILE} is not the signature of {STATEMENT_FILE}")
    statement = parse(text.decode("ascii"))
    signed = Signed(text.decode("ascii"), signature.decode("ascii"))
    found: dict[str, Signed] = {}
    left: dict[str, list[str]] = {}
    for destination, made in rendered.items():
        why = doubts(statement, made.deployment, host_of(destination), session.now_ns())
        if why:
            left.setdefault(why, []).append(destination)
        else:
            found[destination] = signed
    for why, hosts in left.items():
        more = f" and {len(hosts) - _SHOWN_HOSTS} more" if len(hosts) > _SHOWN_HOSTS else ""
        names = f"{' '.join(hosts[:_SHOWN_HOSTS])}{more}"
        session.report.note(f"{folder} goes without a signature to {names}: {why}; {_again(folder)}")
    return found


def _again(folder: str) -> str:
    return f"hosts that ask for one refuse it: pacha sign {folder} --for …"
