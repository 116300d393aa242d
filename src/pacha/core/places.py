"""Where configuration and state are when nobody says otherwise.

Called where a command is set up, and where a forced command is written down: what it need not name, it leaves
out. It must not look whether anything is there.
"""

from __future__ import annotations

TYPE_CHECKING = False  # `typing`, and even `collections`, would take longer to import than all of this
if TYPE_CHECKING:
    from collections.abc import Mapping


def default_config(is_root: bool, environment: Mapping[str, str]) -> str:
    """The configuration file."""
    if is_root:
        return "/etc/pacha/pacha.toml"
    return (environment.get("XDG_CONFIG_HOME") or f"{_home(environment)}/.config") + "/pacha/pacha.toml"


def default_state(is_root: bool, environment: Mapping[str, str]) -> str:
    """The state folder."""
    if is_root:
        return "/var/lib/pacha"
    return (environment.get("XDG_STATE_HOME") or f"{_home(environment)}/.local/state") + "/pacha"


def hosts_folder(configured: bytes | None, state: str) -> bytes:
    """Where a server with this state folder keeps its hosts' histories, `serve.hosts` being `configured`."""
    return configured or state.encode("utf-8", "surrogateescape") + b"/hosts"


def _home(environment: Mapping[str, str]) -> str:
    return environment.get("HOME", "").rstrip("/")
