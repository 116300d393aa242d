"""What is tracked by a configuration: its watches, and Pacha's own files among them.

Called by `cli/session` alone; a part of it, and no verb.
"""

from __future__ import annotations

import os

from pacha.core.config import Config
from pacha.core.names import is_below
from pacha.core.rules import Rules


def rules_of(config: Config, path: str, hooks: str, default: str, state: str) -> Rules:
    """`path` is the configuration's; where that is the `default`, its whole directory is Pacha's own."""
    own = [os.path.dirname(path)] if path == default else [path, hooks]
    excluded = [state, "/run/pacha"]
    return Rules(
        config.watch,
        config.ignore,
        config.largest,
        [found for one in excluded if (found := below_root(config.root, one)) is not None],
        [found for one in own if (found := below_root(config.root, one)) is not None],
    )


def below_root(root: bytes, path: str) -> bytes | None:
    """A path of this machine as the host below `root` has it; None where it does not lie there."""
    real = os.path.join(
        os.fsencode(os.path.realpath(os.path.dirname(path))), os.fsencode(os.path.basename(path))
    )
    if root == b"/":
        return real
    top = os.path.realpath(root)
    return real[len(top) :] if is_below(real, top) and real != top else None
