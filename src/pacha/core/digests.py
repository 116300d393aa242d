"""SHA-256 of contents, without what a short command would wait for.

Called wherever a content gets its digest. hashlib loads OpenSSL, which takes longer than most of what a host
does for a push, and then is several times as quick; so the first contents of a process are for the
interpreter's own SHA-256, where it was built with it, and the rest for hashlib.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hashlib import _Hash


class _First:
    """How many are left of the first bytes, which take the interpreter's own as long as loading hashlib."""

    left = 1_000_000


def sha256(size: int) -> _Hash:
    """What `hashlib.sha256()` makes, for about so many bytes to come."""
    _First.left -= size
    if _First.left > 0:
        try:
            try:
                from _sha256 import sha256 as own  # type: ignore[import-not-found]
            except ImportError:  # Python 3.12 and later
                from _sha2 import sha256 as own  # type: ignore[import-not-found]
            return own()  # type: ignore[no-any-return]
        except ImportError:
            _First.left = 0
    import hashlib

    return hashlib.sha256()


def hexdigest(content: bytes) -> str:
    """Of one content."""
    digest = sha256(len(content))
    digest.update(content)
    return digest.hexdigest()
