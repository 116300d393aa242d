"""Edits single keys of `pacha.toml` in place: the servers that a client sends to, the account that serves,
what is secret on a machine that became another host.

Called by `join`, `server init` and `rebuild`. Comments, order and formatting of the rest stay; how the file
is replaced is the business of `adapters/config_file`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from pacha.adapters.config_file import before_tables, rewrite
from pacha.core.config import parse
from pacha.core.errors import Failed


def add_server(path: str, destination: str) -> bool:
    """Add a destination to `server`, as the only one or behind those that there are; whether it was new."""

    def change(old: str) -> str:
        present = parse(old, path).servers
        if destination in present:
            return old
        if not present and "server" not in parse(old, path).values:
            return before_tables(old, f"server = {json.dumps(destination)}")
        document, servers = _document(old), [*present, destination]
        document["server"] = servers[0] if len(servers) == 1 else servers
        return _checked(document.as_string(), path, servers)

    return rewrite(path, change)


def _checked(new: str, path: str, servers: list[str]) -> str:
    if parse(new, path).servers != servers:
        raise Failed(f"{path} could not be edited without damage", hint="edit its `server` by hand")
    return new


def set_host(path: str, name: str) -> bool:
    """Say what this host is called; whether that changed anything."""

    def change(old: str) -> str:
        known = parse(old, path)
        if known.host == name:
            return old
        if "host" not in known.values:
            return before_tables(old, f"host = {json.dumps(name)}")
        document = _document(old)
        document["host"] = name
        return str(document.as_string())

    return rewrite(path, change)


def set_account(path: str, account: str) -> bool:
    """Say in `[serve]` which account serves; whether that changed anything."""

    def change(old: str) -> str:
        if parse(old, path).serve_account == account:
            return old
        document = _document(old)
        if "serve" in document:
            document["serve"]["account"] = account
            return str(document.as_string())
        above = old.rstrip("\n")
        return f"{above}\n\n[serve]\naccount = {json.dumps(account)}\n".lstrip("\n")

    return rewrite(path, change)


def add_secrets(path: str, paths: Sequence[str], recipients: Sequence[str]) -> bool:
    """Name more files, and more recipients, in `[secrets]`; whether that changed anything."""

    def change(old: str) -> str:
        known = parse(old, path)
        more = {
            "paths": [one for one in paths if one not in known.secrets_paths],
            "recipients": [one for one in recipients if one not in known.secrets_recipients],
        }
        if not any(more.values()):
            return old
        document = _document(old)
        if "secrets" not in document:
            lines = "".join(f"{key} = {json.dumps(new, ensure_ascii=False)}\n" for key, new in more.items())
            above = old.rstrip("\n")
            return f"{above}\n\n[secrets]\n{lines}".lstrip("\n")
        for key, new in more.items():
            document["secrets"][key] = [*document["secrets"].get(key, []), *new]
        return str(document.as_string())

    return rewrite(path, change)


def _document(text: str) -> Any:
    import tomlkit

    return tomlkit.parse(text)
