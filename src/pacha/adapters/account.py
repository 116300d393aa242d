"""The account that serves: looked up, created, become.

Called by the server's verbs. root does nothing in an account's folders itself: whoever has taken the account
over could lead it elsewhere by a link. It becomes the account first, for good.
"""

from __future__ import annotations

import os
import pwd
from typing import NamedTuple

from pacha.core.errors import Failed, NotFound, UsageError

# Else sshd's own settings, or those of whoever called sudo, would decide where state and configuration are.
_OF_SOMEBODY_ELSE = ("XDG_", "SUDO_", "HG", "PYTHON")


class Account(NamedTuple):
    name: str
    home: str
    shell: str


def current() -> Account:
    """The account that runs this; its home is what it says, else what passwd says."""
    found = pwd.getpwuid(os.geteuid())
    return Account(found.pw_name, os.path.expanduser("~"), found.pw_shell)


def look_up(name: str) -> Account | None:
    """An account by name."""
    try:
        found = pwd.getpwnam(name)
    except KeyError:
        return None
    return Account(found.pw_name, found.pw_dir, found.pw_shell)


def create(name: str) -> Account:
    """Make a system account for serving: no password, but not locked, and a shell for forced commands."""
    import subprocess

    home = f"/var/lib/{name}-server"
    # "*" is no password's hash; "!" would lock the account, and sshd without PAM lets no locked one in.
    options = ["--system", "--user-group", "--create-home", "--home-dir", home, "--shell", "/bin/sh"]
    command = ["useradd", *options, "--password", "*", "--comment", "Pacha server", name]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    except FileNotFoundError as problem:
        hint = f"make the account yourself, with the home {home}, and run this again"
        raise Failed("there is no useradd here", hint=hint) from problem
    made = look_up(name)
    if done.returncode != 0 or made is None:
        said = done.stderr.decode("utf-8", "replace").strip().removeprefix("useradd: ")
        raise Failed(f"the account {name} could not be made: {said}")
    os.chmod(home, 0o700)
    return made


def missing(name: str) -> NotFound:
    """That the configured account does not exist."""
    hint = f"pacha server init --account {name}"
    return NotFound(f"there is no account {name}, which [serve] names", hint=hint)


def become(name: str) -> Account:
    """Make this process, which is root's, that account's, for good."""
    found = look_up(name)
    if found is None:
        raise missing(name)
    entry = pwd.getpwnam(name)
    if entry.pw_uid == 0:
        raise UsageError(f"{name} is root", hint="leave serve.account out")
    os.initgroups(name, entry.pw_gid)
    os.setresgid(entry.pw_gid, entry.pw_gid, entry.pw_gid)
    os.setresuid(entry.pw_uid, entry.pw_uid, entry.pw_uid)
    for variable in list(os.environ):
        if variable.startswith(_OF_SOMEBODY_ELSE):
            del os.environ[variable]
    os.environ.update(HOME=found.home, USER=name, LOGNAME=name)
    os.umask(0o077)
    return found
