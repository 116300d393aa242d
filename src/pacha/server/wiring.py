"""This machine as a server: which account serves, and the registry and hosts that go with it.

Made by `cli/session`. root asks sshd first, and then becomes the account, for good, before it touches
anything that is the account's: what needs root comes before `registry`.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Sequence
from functools import cached_property

from pacha.adapters import account as accounts
from pacha.adapters import config_file
from pacha.adapters import state as state_folder
from pacha.core.config import Config
from pacha.core.errors import UsageError
from pacha.core.places import default_config, default_state, hosts_folder
from pacha.core.sshd_settings import BAD, Account, Finding
from pacha.server.hosts import Hosts
from pacha.server.keys_file import KeysFile
from pacha.server.registry import Registry


class Serving:
    """`find_state` tells the state folder of whoever this process is; `program` starts Pacha again."""

    def __init__(
        self, config: Config, config_path: str, find_state: Callable[[], str], program: Sequence[str]
    ) -> None:
        self._config = config
        self._config_path = config_path
        self._find_state = find_state
        self._program = list(program)

    @cached_property
    def account(self) -> Account:
        """Who serves, and the file of the keys."""
        name = self._config.serve_account
        found = accounts.look_up(name) if name is not None and os.geteuid() == 0 else accounts.current()
        if found is None:
            raise accounts.missing(str(name))
        keys = os.fsdecode(self._config.serve_authorized_keys or b"") or f"{found.home}/.ssh/authorized_keys"
        return Account(found.name, found.home, found.shell, keys)

    @cached_property
    def registry(self) -> Registry:
        """What is known of the hosts that are kept here; from here on this process is the account."""
        _ = self.account
        if self._config.serve_account is not None and os.geteuid() == 0:
            accounts.become(self._config.serve_account)
        state = self._find_state()
        return Registry(state, hosts_folder(self._config.serve_hosts, state))

    @cached_property
    def hosts(self) -> Hosts:
        """What can be done with them."""
        registry = self.registry
        return Hosts(registry, KeysFile(self.account.keys), self.program, self._config.serve_quota)

    @property
    def program(self) -> list[str]:
        """The forced command up to `serve`; sshd will start it with no variable of ours but HOME."""
        words = list(self._program)
        is_root, bare = os.geteuid() == 0, {"HOME": self.account.home}
        if self._config_path != default_config(is_root, bare):
            words += ["--config", self._config_path]
        if self._find_state() != default_state(is_root, bare):
            words += ["--state", self._find_state()]
        return words

    def create(self) -> None:
        """Make what is not there yet, as the account, and bring authorized_keys up to the records."""
        is_root, bare = os.geteuid() == 0, {"HOME": self.account.home}
        if self._config_path != default_config(is_root, bare):
            config_file.make(self._config_path)  # the forced command names it
        hosts = self.hosts
        state_folder.make(self._find_state())
        hosts.registry.create()
        hosts.write_keys()
        hosts.registry.log("init", "", words=" ".join(self.program))

    # -- is all well? --------------------------------------------------------------------------------

    def readiness(self) -> list[Finding]:
        """What is wrong with sshd and the way to the keys."""
        from pacha.server.readiness import readiness

        return readiness(self._config.serve_sshd, self.account, self._count())

    def program_findings(self) -> list[Finding]:
        """Whether this process, as it is, can start the forced command's program."""
        from pacha.server.readiness import cannot_run

        why = cannot_run(self.program, self.account.shell)
        if not why:
            return []
        words = f"{self.account.name} cannot run {self.program[0]}: {why}"
        return [Finding(BAD, words, "install Pacha where that account may read it: sudo make install")]

    def is_server(self) -> bool:
        """Whether `pacha server init` was run, as far as can be seen without becoming the account."""
        return os.path.isdir(os.path.join(self._state(), "server"))

    def host_keys(self) -> list[str]:
        """The host keys that sshd shows, as `KIND DATA`; empty where they cannot be found out."""
        from pacha.adapters import sshd

        return sshd.host_keys(self._config.serve_sshd, self.account)

    def address(self) -> str:
        """How hosts reach this server, as far as it can know."""
        where = f"{self.account.name}@{socket.getfqdn()}"
        port = self._port
        return where if port == "22" else f"ssh://{where}:{port}"

    @cached_property
    def _port(self) -> str:
        from pacha.adapters import sshd
        from pacha.core.errors import PachaError

        try:
            return sshd.settings(self._config.serve_sshd, self.account).get("port", ["22"])[0]
        except PachaError:
            return "22"

    def _count(self) -> int:
        """How many hosts there are, as far as can be seen from here."""
        try:
            return len(Registry(self._state(), b"").names())
        except OSError:
            return 0

    def _state(self) -> str:
        """The account's state folder, whether this process is the account yet or not."""
        if self._config.serve_account is not None and os.geteuid() == 0:
            return default_state(False, {"HOME": self.account.home})
        return self._find_state()


def set_up_account(config_path: str, name: str) -> bool:
    """Make the account where there is none, and name it in the configuration; whether it was made."""
    from pacha.adapters.config_keys import set_account

    if os.geteuid() != 0:
        if name == accounts.current().name:
            return False
        raise UsageError(f"only root can serve as {name}", hint=f"sudo pacha server init --account {name}")
    made = accounts.look_up(name) is None
    if made:
        accounts.create(name)
    set_account(config_path, name)
    return made
