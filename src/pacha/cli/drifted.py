"""How `status` and `verify` tell of a deployed path that is no longer as it was deployed.

Called by these verbs; itself no verb. It imports nothing that `status` does not have in memory.
"""

from __future__ import annotations

from typing import Any

from pacha.core.quantities import about_age
from pacha.ui.text import printable, shown

_WORDS = {
    "added": "is there again, against {}",
    "removed": "is gone, which {} delivered",
    "modified": "is another than {} delivered",
    "metadata": "has another owner or mode than {} gave it",
}


def drift_words(item: dict[str, Any], now: int) -> str:
    """`/etc/motd  is another than motd delivered: root, 3 minutes ago (1a2b3c4d5e6f)`."""
    what = _WORDS[item["change"]].format(printable(item["deployment"]))
    who = "not captured yet"
    if item["revision"] is not None:
        who = f"{printable(item['author'])}, {about_age(item['time_ns'], now)} ({item['revision']})"
    return f"{path_of(item)}  {what}: {who}"


def path_of(item: dict[str, Any]) -> str:
    """The path of an object that has one."""
    if "path" in item:
        return shown(item["path"].encode("utf-8"))
    import base64

    return shown(base64.b64decode(item["path_b64"]))
