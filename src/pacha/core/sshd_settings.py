"""What sshd's settings mean for a server's account: can hosts come in, and can they bring anything along?

Called by `server init` and `doctor`, with the effective settings as `sshd -T` prints them. Pure: it reads no
file and asks no sshd.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple

OK, WARNING, BAD = "ok", "warning", "bad"
# What steers a shell, the loader, Python or Mercurial before Pacha has its environment cleared.
_STEERING = "LD_PRELOAD LD_LIBRARY_PATH BASH_ENV ENV PATH PYTHONPATH PYTHONHOME GCONV_PATH".split()
_NO_SHELLS = ("nologin", "false", "true", "git-shell", "sync")
_EXPANSIONS = {"%%": "%", "%h": "{home}", "%u": "{name}"}


class Finding(NamedTuple):
    """`mend` is what to change, empty where all is well."""

    state: str
    words: str
    mend: str = ""


class Account(NamedTuple):
    """The account that serves, and the file that Pacha writes its keys into."""

    name: str
    home: str
    shell: str
    keys: str


def parse_settings(text: str) -> dict[str, list[str]]:
    """`{setting: values}` of the output of `sshd -T`; what stands there more than once has more values."""
    settings: dict[str, list[str]] = {}
    for line in text.splitlines():
        name, _, value = line.partition(" ")
        if name.islower():
            settings.setdefault(name, []).append(value.strip())
    return settings


def findings(settings: Mapping[str, Sequence[str]], account: Account, hosts: int) -> list[Finding]:
    """Everything that is wrong; empty where nothing is. `hosts` is how many there are."""
    where = f"Match User {account.name}"

    def one(name: str) -> str:
        return settings.get(name, [""])[0]

    found = []
    if one("pubkeyauthentication") == "no":
        found.append(Finding(BAD, "sshd takes no keys", f"{where}: PubkeyAuthentication yes"))
    files = _keys_files(one("authorizedkeysfile"), account)
    if files and account.keys not in files:
        words = f"sshd reads {' and '.join(files)}, but Pacha writes {account.keys}"
        found.append(Finding(BAD, words, f"{where}: AuthorizedKeysFile {account.keys}"))
    if one("forcecommand") not in ("", "none"):
        words = f"sshd runs ForceCommand {one('forcecommand')} instead of Pacha"
        found.append(Finding(BAD, words, f"{where}: ForceCommand none"))
    if one("chrootdirectory") not in ("", "none"):
        words = f"sshd confines the account to {one('chrootdirectory')}, where Pacha is not"
        found.append(Finding(BAD, words, f"{where}: ChrootDirectory none"))
    if account.name == "root" and one("permitrootlogin") == "no":
        found.append(Finding(BAD, "sshd lets root not in", "PermitRootLogin forced-commands-only"))
    found += _who_may_come(settings, account)
    steering = [name for name in _STEERING if _accepts(settings.get("acceptenv", ()), name)]
    if steering:
        more = " and others" if len(steering) > 1 else ""
        words = f"clients may set {steering[0]}{more}: AcceptEnv {' '.join(settings['acceptenv'])}"
        found.append(Finding(BAD, words, "AcceptEnv LANG LC_*"))
    if one("permituserenvironment") not in ("", "no"):
        words = "~/.ssh/environment is read before Pacha starts: PermitUserEnvironment is on"
        found.append(Finding(WARNING, words, "PermitUserEnvironment no"))
    found += _how_many(one("maxstartups"), hosts)
    if account.shell.rpartition("/")[2] in _NO_SHELLS:
        words = f"the account's shell is {account.shell}: sshd can run no command for it"
        found.append(Finding(BAD, words, f"usermod -s /bin/sh {account.name}"))
    return found


def slow_start(shell: str, has_bashrc: bool) -> list[Finding]:
    """Bash reads ~/.bashrc for whatever sshd has it run."""
    if not has_bashrc or shell.rpartition("/")[2] != "bash":
        return []
    words = "bash reads the account's ~/.bashrc before each session: it must be quick, and print nothing"
    return [Finding(WARNING, words, "pacha server init --account pacha")]


def _keys_files(text: str, account: Account) -> list[str]:
    """The files that sshd looks for keys in, as absolute paths."""
    found = []
    for word in text.split():
        if word == "none":
            continue
        for short, long in _EXPANSIONS.items():
            word = word.replace(short, long.format(home=account.home, name=account.name))  # noqa: PLW2901
        found.append(word if word.startswith("/") else f"{account.home}/{word}")
    return found


def _who_may_come(settings: Mapping[str, Sequence[str]], account: Account) -> list[Finding]:
    """AllowUsers and DenyUsers, as far as they name users and not where they come from."""
    allowed = [word.partition("@")[0] for word in settings.get("allowusers", ())]
    denied = [word for word in settings.get("denyusers", ()) if "@" not in word]
    if allowed and not any(fnmatchcase(account.name, word) for word in allowed):
        return [Finding(BAD, "AllowUsers does not name the account", f"AllowUsers … {account.name}")]
    if any(fnmatchcase(account.name, word) for word in denied):
        return [Finding(BAD, "DenyUsers names the account", "take it out of DenyUsers")]
    return []


def _accepts(patterns: Sequence[str], name: str) -> bool:
    return any(fnmatchcase(name, word) for line in patterns for word in line.split())


def _how_many(text: str, hosts: int) -> list[Finding]:
    """Connections that have not yet said who they are: beyond the first number sshd drops some at random."""
    first = text.partition(":")[0]
    if not first.isdigit() or int(first) >= max(hosts, 1) or int(first) >= 100:
        return []
    words = f"when more than {first} of {hosts} hosts connect at once, sshd drops some: MaxStartups {text}"
    return [Finding(WARNING, words, f"MaxStartups {max(hosts, 100)}:30:{2 * max(hosts, 100)}")]
