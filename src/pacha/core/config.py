"""The schema of `pacha.toml`: every key, its default, its check, and words for whatever is wrong.

`adapters/config_file` reads the text and hands it here; everything else gets the resulting Config. It must
not read a file, the environment or the host: a value that depends on them is None, for the caller to fill in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeVar

from pacha.core import config_values as to
from pacha.core.config_values import is_host_name
from pacha.core.errors import ConfigError
from pacha.core.normalize import Normalize, Table
from pacha.core.quantities import DURATION_WORDS, SIZE_WORDS, format_duration

Value = TypeVar("Value")


class Key(NamedTuple):
    """A key's default as one would write it (None: depends on the host), and what is allowed, in words."""

    default: object
    allowed: str


_NAME_WORDS = 'letters, digits, ".", "_" and "-", at most 64, not beginning with "." or "-"'
_PATTERNS_WORDS = 'a list of patterns: "*.bak", "/etc/mtab", "/etc/alternatives/**"'
_EXPRESSIONS_WORDS = """a list of regular expressions: '^# generated at ', 'serial = \\d+'"""
_ABSOLUTE_WORDS = "an absolute path"

KEYS: dict[str, Key] = {
    "host": Key(None, f"a name: {_NAME_WORDS}"),
    "watch": Key([], 'a list of absolute paths: ["/etc", "/root/.bashrc"]'),
    "ignore": Key([], _PATTERNS_WORDS),
    "server": Key([], 'an ssh destination such as "pacha@hub.example.com", or a list of them'),
    "root": Key("/", _ABSOLUTE_WORDS),
    "ssh": Key("ssh", 'a command such as "ssh -F FILE"'),
    "author": Key(None, "a name on one line"),
    "capture.quiet": Key("50ms", DURATION_WORDS),
    "capture.limit": Key("2s", f"{DURATION_WORDS}, not shorter than quiet"),
    "capture.max_file_size": Key("10MB", SIZE_WORDS),
    "capture.cross_filesystems": Key(False, "true or false"),
    "rebuild.packages": Key([], "a list of package names"),
    "secrets.paths": Key([], _PATTERNS_WORDS),
    "secrets.recipients": Key([], 'a list of public keys: "age1…", "ssh-ed25519 …", "ssh-rsa …"'),
    "serve.hosts": Key(None, _ABSOLUTE_WORDS),
    "serve.authorized_keys": Key(None, _ABSOLUTE_WORDS),
    "serve.quota": Key("2GB", SIZE_WORDS),
    "serve.forget": Key(False, "true or false"),
    "serve.account": Key(None, f"the name of an account: {_NAME_WORDS}"),
    "serve.sshd": Key("sshd", 'a command such as "sshd -f FILE"'),
    "push.allowed_signers": Key(None, _ABSOLUTE_WORDS),
    "push.preflight": Key("try", '"try" or "require"'),
    "push.ready": Key("10m", DURATION_WORDS),
    "push.pull": Key([], f"a list of deployment names: {_NAME_WORDS}"),
    "push.every": Key("15m", f"{DURATION_WORDS}, at least one second and at most one week"),
    "hooks.timeout": Key("5m", f"{DURATION_WORDS}, at least one second"),
    "normalize.paths": Key([], _PATTERNS_WORDS),
    "normalize.drop": Key([], _EXPRESSIONS_WORDS),
}
_GROUP = Key([], 'a list of hosts or ssh destinations: ["web1", "admin@web2"]')
TABLES = ("capture", "rebuild", "secrets", "serve", "push", "groups", "hooks", "normalize")
ARRAYS = ("normalize",)  # of these tables there may be several, each written [[so]]

# Bytes of the largest file whose content is sent: a server's session needs some five times that in memory.
LARGEST_SENT = 64_000_000


class Config:
    """The configuration in force. Durations are nanoseconds, sizes bytes, paths normalised bytes.

    `data` is what was read, in the shape of the file. `values` holds what was written, and `lines` where, by
    dotted key; a key in neither has its default.
    Tables of which there may be several are numbered from 1: `normalize.1.paths`.
    """

    def __init__(
        self, source: str, data: Mapping[str, object], lines: Mapping[tuple[str | int, ...], int]
    ) -> None:
        """Take `data` in the shape of the file. Raise ConfigError for the first value that does not fit."""
        read = _Reader(source, data, lines)
        read.refuse_unknown_keys()
        self.source, self.data = source, data
        self.values = read.values
        self.lines = {key: read.line(key) for key in read.values}
        for number, one in enumerate(read.tables, 1):
            for key, value in one.values.items():
                numbered = key.replace(".", f".{number}.", 1)
                self.values[numbered], self.lines[numbered] = value, one.line(key)

        self.host: str | None = read.get("host", to.optional(to.name))  # None: the hostname
        self.watch: list[bytes] = read.each("watch", to.path)
        self.ignore: list[str] = read.each("ignore", to.pattern)
        self.servers: list[str] = read.each("server", to.destination, one_is_enough=True)
        self.root: bytes = read.get("root", to.path)
        self.ssh: str = read.get("ssh", to.line)
        self.author: str | None = read.get("author", to.optional(to.line))  # None: the person, found out

        self.quiet_ns: int = read.get("capture.quiet", to.duration)
        self.limit_ns: int = read.get("capture.limit", to.duration)
        self.max_file_size: int = read.get("capture.max_file_size", to.size)
        self.cross_filesystems: bool = read.get("capture.cross_filesystems", to.boolean)

        self.packages: list[str] = read.each("rebuild.packages", to.word)
        self.secrets_paths: list[str] = read.each("secrets.paths", to.pattern)
        self.secrets_recipients: list[str] = read.each("secrets.recipients", to.recipient)

        self.serve_hosts: bytes | None = read.get("serve.hosts", to.optional(to.path))  # None: <state>/hosts
        self.serve_authorized_keys: bytes | None = read.get(
            "serve.authorized_keys", to.optional(to.path)
        )  # None: ~/.ssh
        self.serve_quota: int = read.get("serve.quota", to.size)
        self.serve_forget: bool = read.get("serve.forget", to.boolean)
        self.serve_account: str | None = read.get("serve.account", to.optional(to.name))  # None: who runs it
        self.serve_sshd: str = read.get("serve.sshd", to.line)

        self.push_allowed_signers: bytes | None = read.get(
            "push.allowed_signers", to.optional(to.path)
        )  # None: not asked
        self.push_preflight: str = read.get("push.preflight", to.preflight)
        self.push_ready_ns: int = read.get("push.ready", to.duration)
        self.push_pull: list[str] = read.each("push.pull", to.name)
        self.push_every_ns: int = read.get("push.every", to.interval)
        self.groups: dict[str, list[str]] = read.groups()
        self.hook_timeout_ns: int = read.get("hooks.timeout", to.second_or_more)
        self.normalize = Normalize(
            Table(one.needed("normalize.paths", to.pattern), one.needed("normalize.drop", to.expression))
            for one in read.tables
        )

        # Nothing is stored that a server of this host's would not take.
        self.largest = min(self.max_file_size, LARGEST_SENT) if self.servers else self.max_file_size

        if self.limit_ns < self.quiet_ns:
            given = "capture.limit" if "capture.limit" in self.values else "capture.quiet"
            limit, quiet = format_duration(self.limit_ns), format_duration(self.quiet_ns)
            raise read.error(given, f"limit = {limit} is shorter than quiet = {quiet}")


def parse(text: str, source: str) -> Config:
    """Return what the TOML `text` configures. ConfigError names `source`, the line and what is allowed."""
    from pacha.core.toml_text import parse_toml

    return Config(source, *parse_toml(text, source))


def defaults(source: str = "") -> Config:
    """Return what an empty or missing file means."""
    return Config(source, {}, {})


def effective(config: Config) -> list[tuple[str, object, str]]:
    """Return (dotted key, value as written, "default" or "FILE:LINE") of every key, in fixed order."""
    numbered = [key for key in config.values if key.partition(".")[0] in ARRAYS]
    without = [key for key in KEYS if not (numbered and key.partition(".")[0] in ARRAYS)]
    keys = [*without, *numbered, *(f"groups.{name}" for name in config.groups)]
    return [
        (key, config.values[key], f"{config.source}:{config.lines[key]}")
        if key in config.values
        else (key, KEYS[key].default, "default")
        for key in keys
    ]


class _Reader:
    """Typed values out of untyped data; knows the line of each."""

    def __init__(
        self, source: str, data: Mapping[str, object], lines: Mapping[tuple[str | int, ...], int]
    ) -> None:
        self._source = source
        self._data = data
        self._lines = lines
        self.values: dict[str, object] = {}
        self.tables: list[_Reader] = []  # one for each of the ARRAYS

    def line(self, key: str, *element: int) -> int:
        """Return the line of a dotted key or of an element of its list; its table's where it is missing."""
        table, _, rest = key.partition(".")
        place = (table, rest) if rest else (table,)
        return self._lines.get((*place, *element), self._lines.get(place, self._lines.get((table,), 0)))

    def error(self, key: str, problem: str, *element: int) -> ConfigError:
        where = f"{self._source}:{self.line(key, *element)}"
        return ConfigError(f"{where}: {key}: {problem}; allowed is {KEYS.get(key, _GROUP).allowed}")

    def refuse_unknown_keys(self) -> None:
        """Sort what is known into `values`; raise ConfigError for the rest."""
        for key, value in self._data.items():
            if key in ARRAYS:
                self._enter_array(key, value)
            elif key in TABLES:
                self._enter_table(key, value)
            elif key in KEYS and "." not in key:
                self.values[key] = value
            else:
                raise self._unknown(key, (key,))

    def _enter_table(self, table: str, value: object) -> None:
        if not isinstance(value, dict):
            raise self._no_table(table, value)
        for name, inner in value.items():
            if table != "groups" and f"{table}.{name}" not in KEYS:
                raise self._unknown(f"{table}.{name}", (table, name))
            self.values[f"{table}.{name}"] = inner

    def _enter_array(self, name: str, value: object) -> None:
        """Make a reader for each table of the array: to it, its table is the only one of that name."""
        if not isinstance(value, list):
            raise self._no_table(name, value)
        for at, table in enumerate(value):
            lines = {
                (name, *place[2:]): line for place, line in self._lines.items() if place[:2] == (name, at)
            }
            one = _Reader(self._source, {name: table}, lines)
            one._enter_table(name, table)
            self.tables.append(one)

    def _no_table(self, name: str, value: object) -> ConfigError:
        where = f"{self._source}:{self.line(name)}"
        allowed = f"allowed is a table: {_header(name)}"
        return ConfigError(f"{where}: {name}: {to.kind(value)} does not fit; {allowed}")

    def _unknown(self, key: str, place: tuple[str, ...]) -> ConfigError:
        from difflib import get_close_matches

        leaf = place[-1]
        siblings = _keys_of(place[0]) if len(place) > 1 else [*_keys_of(""), *TABLES]
        elsewhere = [known for known in KEYS if known.partition(".")[2] == leaf]
        if leaf in _keys_of(""):
            advice = f"{leaf} belongs at the top of the file, before the first [table]"
        elif near := get_close_matches(leaf, siblings, 1):
            advice = f"did you mean {near[0]}?"
        elif elsewhere:
            advice = f"{leaf} belongs into {_header(elsewhere[0].partition('.')[0])}"
        else:
            advice = f"allowed are {', '.join(siblings)}"
        return ConfigError(f"{self._source}:{self._lines.get(place, 0)}: unknown key {key}; {advice}")

    def get(self, key: str, convert: Callable[[object], Value]) -> Value:
        try:
            return convert(self.values.get(key, KEYS[key].default))
        except to.WrongError as wrong:
            raise self.error(key, str(wrong)) from None

    def each(
        self, key: str, convert: Callable[[object], Value], *, one_is_enough: bool = False
    ) -> list[Value]:
        """Return a list of converted values, each once. `one_is_enough`: a text stands for a list of it."""
        given = self.values.get(key, [])
        if one_is_enough and isinstance(given, str):
            given = [given]
        if not isinstance(given, list):
            raise self.error(key, to.misfit(given))
        found: list[Value] = []
        for at, element in enumerate(given):
            try:
                value = convert(element)
            except to.WrongError as wrong:
                raise self.error(key, str(wrong), at) from None
            if value not in found:
                found.append(value)
        return found

    def needed(self, key: str, convert: Callable[[object], Value]) -> tuple[Value, ...]:
        """Return the values of a list that must be there."""
        if key not in self.values:
            raise self.error(key, "it is missing")
        return tuple(self.each(key, convert))

    def groups(self) -> dict[str, list[str]]:
        names = [key.partition(".")[2] for key in self.values if key.startswith("groups.")]
        for name in names:
            if not is_host_name(name):
                where = f"{self._source}:{self.line(f'groups.{name}')}"
                raise ConfigError(f"{where}: groups: {name!r} cannot name a group; allowed are {_NAME_WORDS}")
        return {name: self.each(f"groups.{name}", to.destination) for name in names}


def _keys_of(table: str) -> list[str]:
    """Return the names of the keys of a table, or of those at the top for ""."""
    return [key.rpartition(".")[2] for key in KEYS if key.rpartition(".")[0] == table]


def _header(table: str) -> str:
    """Return how the file opens a table."""
    return f"[[{table}]]" if table in ARRAYS else f"[{table}]"
