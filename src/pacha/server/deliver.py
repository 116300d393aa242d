"""A host pulls: a deployment of this server's is rendered for it, and goes out as one parcel.

Called by `server/serve`, which has let the host in and limited the process; and by `doctor`, which tries what
is there. A deployment is a folder `<state>/deployments/NAME`, put there by who administers the server. For
which host it is rendered the key says, never the client; and nothing of what is asked this time (to force, to
try, to confirm) is the server's to say: the host takes none of it. Nothing is written.
"""

from __future__ import annotations

import errno
import os
import signal
import stat
import sys

from pacha.adapters.account import current
from pacha.adapters.deployment import read_deployment, read_signed
from pacha.core.config_values import is_host_name
from pacha.core.deployment import Prepared, Rendered
from pacha.core.errors import ConfigError, NotFound, Refused
from pacha.core.parcel import ZLIB, Parcel, Signed, render
from pacha.core.parcel_contents import pack_in_parts
from pacha.core.protocol import NO_DEPLOYMENT, Request
from pacha.server.registry import Record, Registry

_PATIENCE = 3600  # seconds: a client that takes no bytes shall not keep this process for ever


def deliver(registry: Registry, record: Record, request: Request) -> int:
    """Write the parcel on standard output; Refused or NotFound, and not a byte of it, where there is none."""
    signal.alarm(_PATIENCE)
    name = request.deployment
    try:
        rendered = prepared(registry, name).for_host(record.name)
        head = first_line(rendered, _signed(os.path.join(registry.deployments, name)))
    except MemoryError:
        raise Refused(f"the deployment {name} takes more memory than a session may use") from None
    registry.log("pulled", record.name, new=rendered.deployment.revision, words=name)
    out = sys.stdout.buffer
    out.write(head)
    for part in pack_in_parts(rendered.deployment, rendered.contents):
        out.write(part)
    out.flush()
    return 0


def first_line(rendered: Rendered, signed: Signed | None) -> bytes:
    """The line of the parcel: all that is said of a deployment, but for its contents."""
    return render(Parcel(rendered.deployment, packing=ZLIB, signed=signed))


def _signed(folder: str) -> Signed | None:
    """What was signed of it, whether that holds or not: the host tells, where it asks. What cannot be sent is
    none.
    """
    try:
        statement, signature = read_signed(folder)
        return Signed(statement.decode("ascii"), signature.decode("ascii")) if statement else None
    except (ConfigError, UnicodeDecodeError):
        return None


def prepared(registry: Registry, name: str) -> Prepared:
    """A deployment, checked. The folder itself may be a symbolic link, so that it can be replaced as a whole;
    below it none is followed. NotFound where there is none, ConfigError where it is wrong.
    """
    if not is_host_name(name):  # it becomes a path
        raise NotFound(f"{name!a} is no name of a deployment")
    folder = os.path.join(registry.deployments, name)
    try:
        is_folder = stat.S_ISDIR(os.stat(folder).st_mode)
    except FileNotFoundError:
        raise NotFound(f"{NO_DEPLOYMENT}{name} here", hint=f"put it there: {folder}") from None
    except OSError as problem:
        raise _unreadable(name, str(problem.strerror)) from None
    if not is_folder:
        raise ConfigError(f"{name}: is no directory")
    if not os.access(folder, os.R_OK | os.X_OK, effective_ids=True):
        raise _unreadable(name, os.strerror(errno.EACCES))
    return Prepared(read_deployment(folder, name))


def _unreadable(name: str, why: str) -> ConfigError:
    hint = f"let the account {current().name}, which serves, read all of it"
    return ConfigError(f"{name}: cannot be read: {why}", hint=hint)
