"""`pacha host add NAME --ssh DESTINATION`: both ends of a host's way in, from the server; itself no verb.

Called by `host`. It goes there by the person's own ssh and lets that host `join`, with this server's host
keys handed over, so that nothing is taken on trust; then lets the key in here, and lets it knock.
"""

from __future__ import annotations

import json
import shlex
import subprocess
from argparse import Namespace
from typing import Any

from pacha.cli.exposure import print_exposed
from pacha.cli.session import Session
from pacha.cli.started import program
from pacha.core.errors import Failed, NotFound, Refused
from pacha.core.shown import printable
from pacha.ui.result import print_object


def enrol(session: Session, options: Namespace) -> int:
    """Do it, and print; 3 where the host has joined but is not let in."""
    serving = session.serving
    if not serving.is_server():
        raise NotFound("this machine is no server", hint="pacha server init makes it one")
    address = options.address or serving.address()
    words = ["pacha", "join", address, "--json"]
    keys = serving.host_keys()
    if not keys and options.address is None:
        raise Failed("this server's host keys cannot be found", hint=f"on the host: pacha join {address}")
    joined = _there(session, options.ssh, [*words, *(word for key in keys for word in ("--host-key", key))])
    if joined["host"] != options.name:
        hint = f'pacha host add {joined["host"]} …; or there: host = "{options.name}"'
        raise Refused(f"{options.ssh} calls itself {joined['host']}, not {options.name}", hint=hint)
    if not session.as_json and not options.quiet:
        print_exposed([_path(one) for one in joined["exposed"]], "there")
    more = ["--quota", options.quota] if options.quota is not None else []
    added = _here(session, ["host", "add", options.name, "--key", "-", *more], joined["key"])
    knocked = _there(session, options.ssh, words)
    let_in = bool(knocked["let_in"])
    values = {
        "host": options.name,
        "key": added["key"],
        "added": added["added"],
        "history": added["history"],
        "address": address,
        "exposed": joined["exposed"],
        "let_in": let_in,
    }
    if session.as_json:
        print_object(values, ok=let_in)
    elif not options.quiet:
        _print(options.name, address, values)
    return 0 if let_in else 3


def _here(session: Session, words: list[str], key: str) -> dict[str, Any]:
    """The same at this end, in a process of its own: it may become another account, and this one must not."""
    options = session.options  # as this one was called: the other finds out by itself whose state it is
    given = [("--config", options.config), ("--state", options.state)]
    more = [word for pair in given if pair[1] for word in pair]
    command = [*program(), *more, *words, "--json"]
    done = subprocess.run(command, input=key.encode(), stdout=subprocess.PIPE, check=False)
    told: dict[str, Any] = json.loads(done.stdout)
    if not told["ok"]:
        raise Failed(told["error"]["message"], hint=told["error"]["hint"])
    return told


def _there(session: Session, destination: str, words: list[str]) -> dict[str, Any]:
    """What a Pacha at a destination answers; Failed in its words where it does not."""
    said = session.ssh.run(destination, shlex.join(words), ask=True)
    try:
        told = json.loads(said.out)
    except ValueError:
        told = None
    if isinstance(told, dict) and told.get("ok") is True:
        return told
    if isinstance(told, dict) and isinstance(told.get("error"), dict):
        error = told["error"]
        raise Failed(f"{destination}: {error.get('message')}", hint=str(error.get("hint", "")))
    if said.exit == 127:
        raise Failed(f"there is no pacha on {destination}", hint="install it there, then run this again")
    hint = f"does this work? ssh {destination} pacha --version"
    raise Failed(f"{destination}: {said.last_words}", hint=hint)


def _path(told: dict[str, str]) -> bytes:
    if "path" in told:
        return told["path"].encode()
    import base64

    return base64.b64decode(told["path_b64"])


def _print(name: str, address: str, values: dict[str, Any]) -> None:
    print(f"host {name} is let in, key {values['key']}")
    here = printable(address)
    if values["let_in"]:
        print(f"{name} has joined {here}: every revision comes here from now on")
    else:
        print(f"but {name} does not get in as {here}: pacha doctor, here and there, says more")
