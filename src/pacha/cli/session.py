"""One command's surroundings: which configuration, which state folder, and a `Host` with its adapters.

Called by `cli/main` for every verb. The only place of the command line that knows the adapters; they are
made, and imported, when they are asked for: `status` may need none of them.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from pacha.cli.quick import state_folder
from pacha.cli.started import detach, program, working_directory
from pacha.core.errors import ConfigError, UsageError
from pacha.ui.report import Report

if TYPE_CHECKING:
    from argparse import Namespace

    from pacha.adapters.hooks import Hooks
    from pacha.adapters.secrets import Identities, Secrets
    from pacha.adapters.ssh import Ssh
    from pacha.core.config import Config
    from pacha.core.rules import Rules
    from pacha.ops.fetch import Fetched
    from pacha.ops.host import Host
    from pacha.server.kept import KeptHistories
    from pacha.server.registry import Registry
    from pacha.server.wiring import Serving


_Closed = TypeVar("_Closed")


class Session:
    """What a verb works with; `close` lets go of processes and files."""

    def __init__(self, options: Namespace, verb: str) -> None:
        self.options = options
        self.verb = verb
        self.as_json = bool(options.json)
        self.report = Report(quiet=bool(options.quiet), as_json=self.as_json, verbose=bool(options.verbose))
        self._closing: list[Any] = []
        self._written: tuple[int, ...] = ()  # the configuration file, as it was when it was read
        self.undoes = False  # what was cut off, or not confirmed, whatever has become of the configuration

    # -- where things are --------------------------------------------------------------------------

    @cached_property
    def config_path(self) -> str:
        """The configuration file, which need not exist."""
        given = self.options.config or os.environ.get("PACHA_CONFIG")
        return os.path.abspath(given) if given else self._default_config

    @property
    def _default_config(self) -> str:
        from pacha.core.places import default_config

        return default_config(os.geteuid() == 0, os.environ)

    @cached_property
    def state_path(self) -> str:
        """The state folder, which need not exist."""
        return self.find_state()

    def find_state(self) -> str:
        """The state folder of who this process is now."""
        return state_folder(self.options.state)

    @property
    def hooks_path(self) -> str:
        """The hooks directory, beside the configuration."""
        return os.path.join(os.path.dirname(self.config_path), "hooks")

    @cached_property
    def config(self) -> Config:
        """The configuration in force; ConfigError where it cannot be."""
        from pacha.adapters.config_file import written
        from pacha.cli.configured import config_of

        self._written = written(self.config_path)
        return config_of(self)

    # -- the host ----------------------------------------------------------------------------------

    @cached_property
    def host(self) -> Host:
        """This host, with its adapters; the state folder is made where there is none."""
        from pacha.adapters import state

        state.make(self.state_path)
        from pacha.cli.hosting import host_of

        return host_of(self, self.config)

    def add_watch(self, paths: list[bytes]) -> Host:
        """Write new watches into the configuration; the host as it is then."""
        from pacha.adapters.config_file import add_watch

        add_watch(self.config_path, paths)
        return self._reload()

    def remove_watch(self, paths: list[bytes]) -> Host:
        """Take watches out of the configuration; the host as it is then."""
        from pacha.adapters.config_file import remove_watch

        remove_watch(self.config_path, paths)
        return self._reload()

    @property
    def rules(self) -> Rules:
        """What is tracked, by the configuration in force."""
        from pacha.cli.tracking import rules_of

        paths = self.config_path, self.hooks_path, self._default_config, self.state_path
        return rules_of(self.config, *paths)

    def environment(self) -> list[tuple[str, str, str, str]]:
        """What `doctor` says of what Pacha itself runs on: (name, state, words, mend) of each check."""
        from pacha.adapters.environment import environment_checks

        return environment_checks(self.hooks_path, os.geteuid() == 0)

    def server_checks(self) -> list[tuple[str, str, str, str]]:
        """The same of this machine as a server; root is the account that serves from here on."""
        from pacha.server.checks import server_checks

        return server_checks(self.serving)

    @property
    def machine_name(self) -> str:
        """What this host is called where no configuration says."""
        from pacha.adapters import machine

        return machine.host_name()

    def named_in(self, path: str) -> str | None:
        """What a configuration calls its host, where it is there, can be read, and says."""
        from pacha.adapters.config_file import load

        try:
            return load(path).host
        except ConfigError:
            return None

    def rename_host(self, name: str, path: str) -> None:
        """Write into a configuration what its host is called."""
        from pacha.adapters.config_keys import set_host

        set_host(path, name)
        self.forget_config()

    def keep_secret(self, paths: Sequence[str], recipients: Sequence[str]) -> None:
        """Write into the configuration what is secret, and for whom it is encrypted."""
        from pacha.adapters.config_keys import add_secrets

        add_secrets(self.config_path, paths, recipients)
        self.forget_config()

    def forget_config(self) -> None:
        """The configuration is read again when it is next asked for."""
        self.__dict__.pop("config", None)

    def is_outdated(self) -> bool:
        """Whether the configuration has been written since it was read."""
        from pacha.adapters.config_file import written

        return self._written != written(self.config_path)

    def refresh(self) -> None:
        """Take over the watches that another Pacha has added since the configuration was read. Whatever else
        is otherwise in it, as while somebody writes it, is left to the next command.
        """
        if not self.is_outdated():
            return
        before = self.config
        self.forget_config()
        try:
            now = self.config
        except ConfigError:
            now = before
        are_alike = {**now.values, "watch": None} == {**before.values, "watch": None}
        if are_alike and set(before.watch) < set(now.watch):
            self._take_over()
        else:
            self.__dict__["config"] = before

    def _reload(self) -> Host:
        self.forget_config()
        return self._take_over()

    def _take_over(self) -> Host:
        self.host.config = self.config
        self.host.rules = self.rules
        self.host.secrets = self.secrets
        return self.host

    def below_root(self, path: str) -> bytes | None:
        """One of Pacha's own paths as the host has it; None where it does not lie below the host's root."""
        from pacha.cli.tracking import below_root

        return below_root(self.config.root, path)

    @property
    def program(self) -> list[str]:
        """The words that start Pacha again, on the same configuration and state."""
        is_named = self.options.config or os.path.exists(self.config_path)
        config = ["--config", self.config_path] if is_named else []
        return [*program(), *config, "--state", self.state_path]

    def detach(self, arguments: list[str], pause: float = 0.0) -> None:
        """Start Pacha again, on the same configuration and state, to go on when this process has ended; after
        so many seconds.
        """
        detach([*self.program, *arguments], pause)

    def tell_ready(self) -> None:
        """To systemd, where it has started this process and waits for that."""
        from pacha.adapters.service import Notifier

        Notifier().ready()

    def keep_running(self, name: str, arguments: list[str]) -> None:
        """The same, at once, and also where all is killed that the service has started, or the session, that
        this process belongs to.
        """
        from pacha.adapters.unit_of_own import start

        if not (self.config.root == b"/" and start(name, [*self.program, *arguments])):
            self.detach(arguments)

    # -- servers, as a client ------------------------------------------------------------------------

    @cached_property
    def ssh(self) -> Ssh:
        """Connections by the configured command."""
        from pacha.adapters.ssh import Ssh

        return Ssh(os.environ.get("PACHA_SSH") or self.config.ssh, self.state_path)

    def add_server(self, destination: str) -> bool:
        """Write a server into the configuration; whether it was new."""
        from pacha.adapters.config_keys import add_server

        done = add_server(self.config_path, destination)
        self.forget_config()
        return done

    # -- the server --------------------------------------------------------------------------------

    @cached_property
    def registry(self) -> Registry:
        """What is known of the hosts that are kept here."""
        from pacha.core.places import hosts_folder
        from pacha.server.registry import Registry

        return Registry(self.state_path, hosts_folder(self.config.serve_hosts, self.state_path))

    @cached_property
    def serving(self) -> Serving:
        """This machine as a server."""
        from pacha.server.wiring import Serving

        return Serving(self.config, self.config_path, self.find_state, program())

    @property
    def is_server(self) -> bool:
        """Whether other hosts' histories are kept here."""
        if self.config.serve_account is None:
            return os.path.isdir(os.path.join(self.state_path, "server"))
        return self.serving.is_server()

    @cached_property
    def kept(self) -> KeptHistories:
        """The histories that are kept here; UsageError where this is no server."""
        from pacha.server.kept import KeptHistories

        if not self.is_server:
            raise UsageError("this machine is no server", hint="run it there, or: pacha join SERVER")
        return self.closing(KeptHistories(self.serving.registry))

    @cached_property
    def fetched(self) -> Fetched:
        """The histories that the servers of this configuration let this key read."""
        from pacha.cli.reaching import fetched

        return self.closing(fetched(self))

    @property
    def others(self) -> KeptHistories | Fetched:
        """Other hosts' histories: those kept here, else those of the servers that this machine reads."""
        return self.kept if self.is_server or not self.config.servers else self.fetched

    @property
    def has_history(self) -> bool:
        """Whether this host, beside those that it keeps, has one of its own."""
        return os.path.isdir(os.path.join(self.state_path, "store", ".hg"))

    @property
    def has_agent(self) -> bool:
        """Whether an agent is running, or stuck."""
        from pacha.agent.wiring import is_running

        return is_running(self.state_path)

    def now_ns(self) -> int:
        """What time it is."""
        from pacha.adapters import machine

        return machine.now_ns()

    @property
    def hooks(self) -> Hooks:
        """The hooks directory."""
        from pacha.adapters.hooks import Hooks

        return Hooks(self.hooks_path, self.config.hook_timeout_ns)

    def serve_as(self, account: str) -> bool:
        """Write into the configuration which account serves; whether it had to be made."""
        from pacha.server.wiring import set_up_account

        made = set_up_account(self.config_path, account)
        self.forget_config()
        return made

    # -- secrets -----------------------------------------------------------------------------------

    @cached_property
    def identities(self) -> Identities:
        """The private keys at hand: of `--identity`, and this host's own."""
        from pacha.adapters.secrets import Identities, OwnKey

        return Identities(getattr(self.options, "identity", None) or (), OwnKey(self.state_path))

    @property
    def secrets(self) -> Secrets:
        """Whose contents are encrypted, by the configuration in force."""
        from pacha.adapters.secrets import OwnKey, Secrets

        return Secrets(OwnKey(self.state_path), self.config.secrets_paths, self.config.secrets_recipients)

    # -- paths -------------------------------------------------------------------------------------

    def resolve(self, paths: list[str]) -> list[bytes]:
        """Paths as a person wrote them (relative ones to the working directory) as the host has them.

        With another root, absolute paths are the host's own; relative ones must lie below it.
        """
        found = []
        for text in paths:
            if not text or "\0" in text:
                raise UsageError("an empty path names nothing")
            path = os.fsencode(text)
            if not path.startswith(b"/"):
                inside = self.below_root(os.path.join(working_directory(), text))
                if inside is None:
                    raise UsageError(f"{text} does not lie below the root {os.fsdecode(self.config.root)}")
                path = inside
            found.append(self.host.tree.resolve(path))
        return found

    def look_up(self, paths: list[str]) -> list[bytes]:
        """The same for a look back: a path that has a history of its own counts as it was written.

        Its parent may have become a symbolic link since.
        """
        from pacha.ops.history import was_ever_tracked

        found = []
        for text, resolved in zip(paths, self.resolve(paths), strict=True):
            literal = os.path.normpath(os.fsencode(text))
            own = literal.startswith(b"/") and literal != resolved and was_ever_tracked(self.host, literal)
            found.append(literal if own else resolved)
        return found

    def closing(self, item: _Closed) -> _Closed:
        """The same, to be closed with this session."""
        self._closing.append(item)
        return item

    def close(self) -> None:
        """End the Mercurial child and close the index."""
        self.report.finish()
        for item in self._closing:
            item.close()


def read_text(path: str) -> str:
    """A small text file that the command line names."""
    from pacha.adapters.ssh_files import read_named

    return read_named(path)
