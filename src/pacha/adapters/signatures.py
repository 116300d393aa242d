"""SSH signatures, by the `ssh-keygen` of the machine: made for a person, and verified for a host.

Called by `sign` and `push`, and through `ops/signing` by whatever takes a deployment. What is verified is
handed over in memory, so that nobody can change it meanwhile, and no disk need have room. It must not decide
what is signed, nor read the list of signers.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from pacha.adapters import disk
from pacha.core.deployment import SIGNATURE_FILE, STATEMENT_FILE
from pacha.core.errors import Failed, Refused, UsageError
from pacha.core.shown import printable

_NAMESPACE = "pacha"
_PATIENCE = 60
_MOST_SIGNERS = 1000  # lines of a list that are tried one by one
_MOST_PRINCIPALS = 20  # of one line
_LONGEST_WORDS = 500
# In the order in which ssh itself tries them, but the strong ones first.
_USUAL_KEYS = ("id_ed25519", "id_ed25519_sk", "id_ecdsa", "id_ecdsa_sk", "id_rsa")
_KEY = re.compile(r"with (\S+) key (\S+)")


class Signatures:
    """What a host needs of them."""

    def signer(self, signers: bytes, statement: bytes, signature: bytes) -> str:
        """The principal under whom a list (ssh-keygen(1), ALLOWED SIGNERS) has who signed the statement for
        Pacha. Raise Refused where it has none whose signature counts, now.
        """
        try:
            with _files(signature) as (named,):
                return _signer(signers, statement, named)
        except OSError as problem:
            raise Failed(f"the signature cannot be verified: {problem.strerror}") from problem


def _signer(signers: bytes, statement: bytes, signature: str) -> str:
    principals, why = _principals(signers, signature)
    found, last = _verified(signers, principals, statement, signature)
    if found:
        return found
    if principals:  # of several lines with the same key another may be for this
        for line in signers.splitlines()[:_MOST_SIGNERS]:
            if line.strip() and not line.lstrip().startswith(b"#"):
                found, _ = _verified(line, _principals(line, signature)[0], statement, signature)
                if found:
                    return found
    if not principals and "parse signature" in why:
        raise Refused("the signature is none", hint="sign it again with pacha sign")
    if not principals:
        words = f"nobody who may sign here has signed this{_because(why)}"
        raise Refused(words, hint="allowed_signers of [push] on the host names a file with who may")
    raise Refused(f"the signature does not count here{_because(last)}", hint="sign it again with pacha sign")


def _principals(signers: bytes, signature: str) -> tuple[list[str], str]:
    """(under which names a list has who made a signature, what ssh-keygen says)."""
    with _files(signers) as (named,):
        done = _run(["-Y", "find-principals", "-s", signature, "-f", named], b"")
    names = [line for line in done.out.splitlines() if line] if done.code == 0 else []
    return names[:_MOST_PRINCIPALS], done.err.replace(named, "allowed_signers")


def _verified(signers: bytes, principals: Sequence[str], statement: bytes, signature: str) -> tuple[str, str]:
    """(the first name whose signature it is, else empty; what ssh-keygen says)."""
    said = ""
    for principal in principals:
        with _files(signers) as (named,):
            words = ["-Y", "verify", "-f", named, "-I", principal, "-n", _NAMESPACE, "-s", signature]
            done = _run(words, statement)
        if done.code == 0:
            return printable(principal), ""
        said = said or done.err.replace(named, "allowed_signers")
    return "", said


def _because(said: str) -> str:
    """The first that ssh-keygen gave for a reason."""
    reasons = [line.strip() for line in said.splitlines() if line.strip()]
    telling = [line for line in reasons if "No principal matched" not in line]
    return f": {printable(telling[0])[:_LONGEST_WORDS]}" if telling else ""


class _Done:
    """How ssh-keygen ended."""

    def __init__(self, code: int, out: bytes, err: bytes) -> None:
        self.code = code
        self.out = out.decode("utf-8", "replace")
        self.err = err.decode("utf-8", "replace")


def _run(words: Sequence[str], data: bytes) -> _Done:
    held = [int(word.rpartition("/")[2]) for word in words if word.startswith("/proc/self/fd/")]
    try:
        done = subprocess.run(
            ["ssh-keygen", *words], input=data, capture_output=True, pass_fds=held, timeout=_PATIENCE,
            check=False, env={**os.environ, "LC_ALL": "C"},
        )  # fmt: skip
    except FileNotFoundError as problem:
        raise Failed("there is no ssh-keygen", hint="install the OpenSSH client") from problem
    except subprocess.TimeoutExpired:
        raise Failed(f"ssh-keygen did not end within {_PATIENCE} seconds") from None
    return _Done(done.returncode, done.stdout, done.stderr)


@contextmanager
def _files(*contents: bytes) -> Iterator[list[str]]:
    """Names under which ssh-keygen finds these bytes: in memory, and nobody else's."""
    held: list[int] = []
    try:
        for data in contents:
            held.append(os.memfd_create("pacha"))
            with open(held[-1], "wb", closefd=False) as file:
                file.write(data)
        yield [f"/proc/self/fd/{descriptor}" for descriptor in held]
    finally:
        for descriptor in held:
            os.close(descriptor)


# -- for a person ------------------------------------------------------------------------------------------


def key_of(statement: bytes, signature: bytes) -> str:
    """Which key signed, `ED25519 SHA256:…`; empty where the signature is not one of these bytes for Pacha."""
    with _files(signature) as (named,):
        done = _run(["-Y", "check-novalidate", "-n", _NAMESPACE, "-s", named], statement)
    found = _KEY.search(done.out) if done.code == 0 else None
    return " ".join(found.groups()) if found else ""


def sign(statement: bytes, key: str | None) -> bytes:
    """The armoured signature. `key`: a private key, or a public one whose private one the agent has; None:
    the first of the agent's, else the first of ~/.ssh. What ssh-keygen asks for (a passphrase, a touch) it
    asks on the terminal. Raise UsageError where there is no such key, Failed where it did not sign.
    """
    if key is not None:
        if not os.path.isfile(key):
            raise UsageError(f"there is no key {key}", hint="a private key, or the .pub of one in the agent")
        return _sign(statement, key)
    if public := _first_of_agent():
        with _files(public) as (named,):
            return _sign(statement, named)
    for name in _USUAL_KEYS:
        path = os.path.expanduser(f"~/.ssh/{name}")
        if os.path.isfile(path):
            return _sign(statement, path)
    raise UsageError(
        "there is no key to sign with", hint="--key FILE, or ssh-add one, or make one: ssh-keygen"
    )


def _first_of_agent() -> bytes:
    """The public key of the first, empty where there is no agent, or it has none."""
    try:
        done = subprocess.run(
            ["ssh-add", "-L"], stdin=subprocess.DEVNULL, capture_output=True, timeout=_PATIENCE, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return b""
    lines = done.stdout.splitlines() if done.returncode == 0 else []
    return lines[0] + b"\n" if lines else b""


def _sign(statement: bytes, key: str) -> bytes:
    # On a terminal it speaks for itself: only there it asks to touch a hardware key.
    is_seen = sys.stderr.isatty()
    with _files(statement, b"") as (given, made):
        held = [int(name.rpartition("/")[2]) for name in (given, made, key) if name.startswith("/proc/self/")]
        with open(given, "rb") as source, open(made, "wb") as target:
            words = ["ssh-keygen", "-q", "-Y", "sign", "-n", _NAMESPACE, "-f", key]
            errors = None if is_seen else subprocess.PIPE
            try:
                done = subprocess.run(
                    words, stdin=source, stdout=target, stderr=errors, pass_fds=held, check=False
                )
            except FileNotFoundError as problem:
                raise Failed("there is no ssh-keygen", hint="install the OpenSSH client") from problem
        with open(made, "rb") as file:
            signature = file.read()
    if done.returncode == 0 and signature:
        return signature
    said = (done.stderr or b"").decode("utf-8", "replace").strip()
    why = "what it says is above" if is_seen else f"it ended with exit {done.returncode}"
    why = said.splitlines()[-1] if said else why
    raise Failed(f"ssh-keygen has not signed: {printable(why.strip())}", hint=_hint(said))


def _hint(said: str) -> str:
    if "passphrase" in said:
        return "there is no terminal to ask for its passphrase on, or that was wrong: ssh-add it first"
    if "No private key" in said:
        return "name the private key, or ssh-add it"
    return ""


def write_signed(folder: str, statement: bytes, signature: bytes) -> None:
    """Put both into a deployment's directory, each whole. Who reads between the two finds a signature that
    does not fit, and is told so.
    """
    disk.replace(os.path.join(folder, STATEMENT_FILE), statement, mode=0o666)
    disk.replace(os.path.join(folder, SIGNATURE_FILE), signature, mode=0o666)
