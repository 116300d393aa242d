"""The schema of `pacha.toml`: every key, its default, its check, and words for whatever is wrong.

`adapters/config_file` reads the text and hands it here; everything else gets the resulting Config. It must
not read a file, the environment or the host: a value that depends on them is None, for the caller to fill in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeVar

from pacha.core.errors import ConfigError, UsageError
from pacha.core.patterns import translate
from pacha.core.quantities import DURATION_WORDS, SIZE_WORDS, format_duration, parse_duration, parse_size

Value = TypeVar("Value")


class Key(NamedTuple):
    """A key's default as one would write it (None: depends on the host), and what is allowed, in words."""

    default: object
    allowed: str


_NAME_WORDS = 'letters, digits, ".", "_" and "-", at most 64, not beginning with "." or "-"'
_PATTERNS_WORDS = 'a list of patterns: "*.bak", "/etc/mtab", "/etc/alternatives/**"'
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
    "push.allowed_signers": Key(None, _ABSOLUTE_WORDS),
    "push.preflight": Key("try", '"try" or "require"'),
    "push.pull": Key([], f"a list of deployment names: {_NAME_WORDS}"),
    "push.every": Key("15m", f"{DURATION_WORDS}, at least one second"),
    "hooks.timeout": Key("5m", f"{DURATION_WORDS}, at least one second"),
}
_GROUP = Key([], 'a list of hosts or ssh destinations: ["web1", "admin@web2"]')
TABLES = ("capture", "rebuild", "secrets", "serve", "push", "groups", "hooks")


class Config:
    """The configuration in force. Durations are nanoseconds, sizes bytes, paths normalised bytes.

    `values` holds what was written, and `lines` where, by dotted key; a key in neither has its default.
    """

    def __init__(
        self, source: str, data: Mapping[str, object], lines: Mapping[tuple[str | int, ...], int]
    ) -> None:
        """Take `data` in the shape of the file. Raise ConfigError for the first value that does not fit."""
        read = _Reader(source, data, lines)
        read.refuse_unknown_keys()
        self.source = source
        self.values = read.values
        self.lines = {key: read.line(key) for key in read.values}

        self.host: str | None = read.get("host", _optional(_name))  # None: the hostname
        self.watch: list[bytes] = read.each("watch", _path)
        self.ignore: list[str] = read.each("ignore", _pattern)
        self.servers: list[str] = read.each("server", _destination, one_is_enough=True)
        self.root: bytes = read.get("root", _path)
        self.ssh: str = read.get("ssh", _line)
        self.author: str | None = read.get("author", _optional(_line))  # None: the person, found out

        self.quiet_ns: int = read.get("capture.quiet", _duration)
        self.limit_ns: int = read.get("capture.limit", _duration)
        self.max_file_size: int = read.get("capture.max_file_size", _size)
        self.cross_filesystems: bool = read.get("capture.cross_filesystems", _boolean)

        self.packages: list[str] = read.each("rebuild.packages", _word)
        self.secrets_paths: list[str] = read.each("secrets.paths", _pattern)
        self.secrets_recipients: list[str] = read.each("secrets.recipients", _recipient)

        self.serve_hosts: bytes | None = read.get("serve.hosts", _optional(_path))  # None: <state>/hosts
        self.serve_authorized_keys: bytes | None = read.get(
            "serve.authorized_keys", _optional(_path)
        )  # None: ~/.ssh
        self.serve_quota: int = read.get("serve.quota", _size)

        self.push_allowed_signers: bytes | None = read.get(
            "push.allowed_signers", _optional(_path)
        )  # None: not asked
        self.push_preflight: str = read.get("push.preflight", _preflight)
        self.push_pull: list[str] = read.each("push.pull", _name)
        self.push_every_ns: int = read.get("push.every", _second_or_more)
        self.groups: dict[str, list[str]] = read.groups()
        self.hook_timeout_ns: int = read.get("hooks.timeout", _second_or_more)

        if self.limit_ns < self.quiet_ns:
            given = "capture.limit" if "capture.limit" in self.values else "capture.quiet"
            limit, quiet = format_duration(self.limit_ns), format_duration(self.quiet_ns)
            raise read.error(given, f"limit = {limit} is shorter than quiet = {quiet}")


def parse(text: str, source: str) -> Config:
    """Return what the TOML `text` configures. ConfigError names `source`, the line and what is allowed."""
    import tomllib

    try:
        data = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise _syntax_error(text, source, error) from error
    return validate(data, text, source)


def validate(data: Mapping[str, object], text: str, source: str) -> Config:
    """Return the configuration of `data`; its `text` serves to name a wrong value's line."""
    from pacha.core.toml_lines import line_numbers

    return Config(source, data, line_numbers(text))


def defaults(source: str = "") -> Config:
    """Return what an empty or missing file means."""
    return Config(source, {}, {})


def effective(config: Config) -> list[tuple[str, object, str]]:
    """Return (dotted key, value as written, "default" or "FILE:LINE") of every key, in fixed order."""
    keys = [*KEYS, *(f"groups.{name}" for name in config.groups)]
    return [
        (key, config.values[key], f"{config.source}:{config.lines[key]}")
        if key in config.values
        else (key, KEYS[key].default, "default")
        for key in keys
    ]


def is_host_name(text: str) -> bool:
    """Return True for 1 to 64 ASCII letters, digits, ".", "_" and "-", not beginning with "." or "-".

    Such a name is safe as a folder, on a command line and in an ssh destination.
    """
    return (
        1 <= len(text) <= 64
        and text[0] not in ".-"
        and all(c.isascii() and (c.isalnum() or c in "._-") for c in text)
    )


def _syntax_error(text: str, source: str, error: Exception) -> ConfigError:
    """Find the line: tomllib's messages end with "(at line N, column M)" or "(at end of document)"."""
    message = "nested too deeply" if isinstance(error, RecursionError) else str(error)
    words, _, position = message.partition(" (at ")
    number = "".join(c for c in position.partition(",")[0] if c.isdigit())
    line = int(number) if number else max(len(text.splitlines()), 1)
    return ConfigError(f"{source}:{line}: not valid TOML: {words}", hint="see https://toml.io for the syntax")


class _WrongError(Exception):
    """A value does not fit; the message is a clause that says so."""


class _Reader:
    """Typed values out of untyped data; knows the line of each."""

    def __init__(
        self, source: str, data: Mapping[str, object], lines: Mapping[tuple[str | int, ...], int]
    ) -> None:
        self._source = source
        self._data = data
        self._lines = lines
        self.values: dict[str, object] = {}

    def line(self, key: str, *element: int) -> int:
        """Return the line of a dotted key or of an element of its list; 0 for what is not in the file."""
        table, _, rest = key.partition(".")
        place = (table, rest) if rest else (table,)
        return self._lines.get((*place, *element), self._lines.get(place, 0))

    def error(self, key: str, problem: str, *element: int) -> ConfigError:
        where = f"{self._source}:{self.line(key, *element)}"
        return ConfigError(f"{where}: {key}: {problem}; allowed is {KEYS.get(key, _GROUP).allowed}")

    def refuse_unknown_keys(self) -> None:
        """Sort what is known into `values`; raise ConfigError for the rest."""
        for key, value in self._data.items():
            if key in TABLES:
                self._enter_table(key, value)
            elif key in KEYS and "." not in key:
                self.values[key] = value
            else:
                raise self._unknown(key, (key,))

    def _enter_table(self, table: str, value: object) -> None:
        if not isinstance(value, dict):
            where = f"{self._source}:{self.line(table)}"
            raise ConfigError(f"{where}: {table}: {_kind(value)} does not fit; allowed is a table: [{table}]")
        for name, inner in value.items():
            if table != "groups" and f"{table}.{name}" not in KEYS:
                raise self._unknown(f"{table}.{name}", (table, name))
            self.values[f"{table}.{name}"] = inner

    def _unknown(self, key: str, place: tuple[str, ...]) -> ConfigError:
        from difflib import get_close_matches

        leaf = place[-1]
        siblings = _keys_of(place[0]) if len(place) > 1 else [*_keys_of(""), *TABLES]
        elsewhere = [known for known in KEYS if known.partition(".")[2] == leaf]
        if near := get_close_matches(leaf, siblings, 1):
            advice = f"did you mean {near[0]}?"
        elif leaf in _keys_of(""):
            advice = f"{leaf} belongs at the top of the file, before the first [table]"
        elif elsewhere:
            advice = f"{leaf} belongs into [{elsewhere[0].partition('.')[0]}]"
        else:
            advice = f"allowed are {', '.join(siblings)}"
        return ConfigError(f"{self._source}:{self._lines.get(place, 0)}: unknown key {key}; {advice}")

    def get(self, key: str, convert: Callable[[object], Value]) -> Value:
        try:
            return convert(self.values.get(key, KEYS[key].default))
        except _WrongError as wrong:
            raise self.error(key, str(wrong)) from None

    def each(
        self, key: str, convert: Callable[[object], Value], *, one_is_enough: bool = False
    ) -> list[Value]:
        """Return a list of converted values, each once. `one_is_enough`: a text stands for a list of it."""
        given = self.values.get(key, [])
        if one_is_enough and isinstance(given, str):
            given = [given]
        if not isinstance(given, list):
            raise self.error(key, _misfit(given))
        found: list[Value] = []
        for at, element in enumerate(given):
            try:
                value = convert(element)
            except _WrongError as wrong:
                raise self.error(key, str(wrong), at) from None
            if value not in found:
                found.append(value)
        return found

    def groups(self) -> dict[str, list[str]]:
        names = [key.partition(".")[2] for key in self.values if key.startswith("groups.")]
        for name in names:
            if not is_host_name(name):
                where = f"{self._source}:{self.line(f'groups.{name}')}"
                raise ConfigError(f"{where}: groups: {name!r} cannot name a group; allowed are {_NAME_WORDS}")
        return {name: self.each(f"groups.{name}", _destination) for name in names}


def _keys_of(table: str) -> list[str]:
    """Return the names of the keys of a table, or of those at the top for ""."""
    return [key.rpartition(".")[2] for key in KEYS if key.rpartition(".")[0] == table]


def _kind(value: object) -> str:
    kinds = {
        bool: "true or false",
        int: "a number",
        float: "a number",
        str: "a text",
        list: "a list",
        dict: "a table",
    }
    return kinds.get(type(value), "a date or time")


def _misfit(value: object) -> str:
    """Return a clause that says so of a value, for the person who wrote it."""
    return (
        f"{value!r} does not fit" if isinstance(value, str | int | float) else f"{_kind(value)} does not fit"
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise _WrongError(_misfit(value))
    return value


def _optional(convert: Callable[[object], Value]) -> Callable[[object], Value | None]:
    return lambda value: None if value is None else convert(value)


def _boolean(value: object) -> bool:
    if not isinstance(value, bool):
        raise _WrongError(_misfit(value))
    return value


def _line(value: object) -> str:
    text = _text(value)
    if not text.strip() or not text.isprintable():
        raise _WrongError(_misfit(text))
    return text.strip()


def _word(value: object) -> str:
    text = _line(value)
    # A word becomes an argument of ssh or of a package tool, where a leading dash would be an option.
    if text.startswith("-") or " " in text:
        raise _WrongError(_misfit(text))
    return text


def _name(value: object) -> str:
    text = _text(value)
    if not is_host_name(text):
        raise _WrongError(_misfit(text))
    return text


def _destination(value: object) -> str:
    text = _word(value)
    if text.startswith("@"):
        raise _WrongError(f"{text!r} looks like a group, and groups do not nest")
    return text


def _path(value: object) -> bytes:
    text = _text(value)
    names = [name for name in text.split("/") if name not in ("", ".")]
    if not text.startswith("/"):
        raise _WrongError(f"{text!r} is not absolute")
    if ".." in names:
        raise _WrongError(f"{text!r} holds ..")
    if "\0" in text:
        raise _WrongError(f"{text!r} holds a NUL byte")
    return ("/" + "/".join(names)).encode("utf-8", "surrogateescape")


def _pattern(value: object) -> str:
    text = _text(value)
    try:
        translate(text)
    except ConfigError as error:
        raise _WrongError(f"{error} ({error.hint})" if error.hint else f"{error}") from error
    return text


def _recipient(value: object) -> str:
    text = _line(value)
    if not text.startswith(("age1", "ssh-ed25519 ", "ssh-rsa ")):
        raise _WrongError(_misfit(text))
    return text


def _preflight(value: object) -> str:
    text = _text(value)
    if text not in ("try", "require"):
        raise _WrongError(_misfit(text))
    return text


def _duration(value: object) -> int:
    try:
        return parse_duration(_text(value))
    except UsageError:
        raise _WrongError(_misfit(value)) from None


def _second_or_more(value: object) -> int:
    duration = _duration(value)
    if duration < 1_000_000_000:
        raise _WrongError(_misfit(value))
    return duration


def _size(value: object) -> int:
    if not isinstance(value, str):
        raise _WrongError(_misfit(value))
    try:
        return parse_size(value)
    except UsageError:
        raise _WrongError(_misfit(value)) from None
