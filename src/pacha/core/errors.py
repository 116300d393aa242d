"""The errors that a person may see, each with its exit code.

Raised wherever a problem is understood, shown in one place only: by the command line's outermost function, as
one sentence or as the JSON object `error: {kind, message, hint}`. It must not print or log. Whatever is no
PachaError is a bug and may show a traceback.

    PachaError           failed      1   never raised itself
    ├── UsageError       usage       2   the words on the command line
    │   └── NotFound     not-found   2   a revision that does not exist, a path never watched
    ├── ConfigError      config      2   pacha.toml: names file, line, key and what is allowed
    ├── Busy             busy        5   another Pacha holds the lock
    ├── Failed           failed      1   what has no better name
    ├── DamagedStore     damaged     1   the store does not verify, or cannot be read
    ├── NoSpace          no-space    1   the disk or the quota is full
    ├── ReadOnly         read-only   1   the state folder cannot be written
    ├── HookFailed       hook        1   a hook stopped the operation
    ├── Refused          refused     1   admission, a server or a person said no
    ├── Edited           changed     1   what was deployed has been changed by somebody since
    ├── Undone           undone      1   what was to be confirmed is not there any more
    ├── Unavailable      unavailable 1   what the kernel or a file system cannot do here
    ├── Closed           encrypted   1   a content that no key at hand opens
    ├── Unreachable      unreachable 1   a server that does not answer, or not now
    └── Interrupted      interrupted 130 Ctrl-C (143, where a SIGTERM did it)

Exit codes 3 and 4 are results, not errors: an operation that did a part returns what it did.
"""

from __future__ import annotations


class PachaError(Exception):
    """What went wrong, in one sentence without a full stop; `hint` is the person's next step, or empty."""

    kind: str = "failed"
    exit_code: int = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class UsageError(PachaError):
    kind = "usage"
    exit_code = 2


class NotFound(UsageError):
    kind = "not-found"


class ConfigError(PachaError):
    kind = "config"
    exit_code = 2


class Busy(PachaError):
    kind = "busy"
    exit_code = 5


class Failed(PachaError):
    kind = "failed"


class DamagedStore(PachaError):
    kind = "damaged"


class NoSpace(PachaError):
    kind = "no-space"


class ReadOnly(PachaError):
    kind = "read-only"


class HookFailed(PachaError):
    kind = "hook"


class Refused(PachaError):
    kind = "refused"


class Edited(PachaError):
    kind = "changed"


class Undone(PachaError):
    kind = "undone"


class Unavailable(PachaError):
    kind = "unavailable"


class Closed(PachaError):
    kind = "encrypted"


class Unreachable(PachaError):
    kind = "unreachable"


class Interrupted(PachaError):
    kind = "interrupted"
    exit_code = 130

    def __init__(self, message: str = "interrupted", *, hint: str = "", exit_code: int = 130) -> None:
        super().__init__(message, hint=hint)
        self.exit_code = exit_code
