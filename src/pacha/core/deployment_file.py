"""The `pacha.toml` of a deployment: its schema, and words with file and line for whatever is wrong in it.

Called by `core/deployment`, which puts it together with the files. Every key has a default, so an empty file,
or none, is valid:

    packages = ["nginx-light"]
    absent   = ["/etc/nginx/sites-enabled/default"]
    restart  = ["nginx"]              # when anything of the deployment changed
    reload   = {ssh = ["/etc/ssh/**"]}  # when one of these changed
    [owner."/etc/nginx/**"]
    user = "root"
    group = "www-data"
    mode = "0640"
    [vars]
    workers = 4
    [vars."web1"]
    workers = 8

It must not read a file, nor know what the deployment delivers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, NoReturn, TypeVar

from pacha.core import config_values as to
from pacha.core.config_values import WrongError
from pacha.core.errors import ConfigError
from pacha.core.parcel import Unit
from pacha.core.parcel_line import is_account, is_package, is_path_pattern, is_service, path_fault
from pacha.core.shown import shown
from pacha.core.toml_lines import Place
from pacha.core.toml_text import Parsed, parse_toml

FILE_NAME = "pacha.toml"

Value = TypeVar("Value")

_PATH_WORDS = 'a list of absolute paths: ["/etc/motd"]'
_UNIT_WORDS = 'a list of services; or a table with the paths of each: nginx = ["/etc/nginx/**"]'
_ALLOWED = {
    "packages": "a list of package names",
    "absent": _PATH_WORDS,
    "restart": _UNIT_WORDS,
    "reload": _UNIT_WORDS,
    "owner": '[owner."/etc/nginx/**"] with user, group and mode',
    "owner.user": "the name or number of a user",
    "owner.group": "the name or number of a group",
    "owner.mode": 'a mode in octal digits, as text: "0640"',
    "vars": 'texts, whole numbers, true or false; and [vars."web1"] with those of one host',
}
_TOP = ("packages", "absent", "restart", "reload", "owner", "vars")
_OWNER = ("user", "group", "mode")


class Owner(NamedTuple):
    """Who owns what matches the pattern, and its mode; None where another rule or the default decides."""

    pattern: str
    user: str | None
    group: str | None
    mode: int | None
    where: str  # FILE:LINE


class Absent(NamedTuple):
    """A path that shall not be there."""

    path: bytes
    where: str


class Concern(NamedTuple):
    """One of the patterns of a service's own paths."""

    key: str  # restart.nginx
    pattern: str
    where: str


class Settings(NamedTuple):
    """All that the file says."""

    packages: tuple[str, ...] = ()
    absent: tuple[Absent, ...] = ()
    restart: tuple[Unit, ...] = ()
    reload: tuple[Unit, ...] = ()
    concerns: tuple[Concern, ...] = ()  # of restart and reload
    owners: tuple[Owner, ...] = ()
    variables: Mapping[str, str] = {}
    variables_of: Mapping[str, Mapping[str, str]] = {}  # by host


def parse_settings(text: str, source: str) -> Settings:
    """Raise ConfigError for the first thing that is wrong: FILE:LINE, the key, and what is allowed."""
    return _Reader(parse_toml(text, source), source).settings()


class _Reader:
    """Typed values out of untyped data; knows the line of each."""

    def __init__(self, parsed: Parsed, source: str) -> None:
        self._data = parsed.data
        self._lines = parsed.lines
        self._source = source

    def settings(self) -> Settings:
        self._refuse_unknown((), self._data, _TOP)
        variables, variables_of = self._variables()
        restart, reload = self._units("restart"), self._units("reload")
        for service in {unit.name for unit in restart} & {unit.name for unit in reload}:
            self._wrong(("reload",), f"{service!r} is in restart too, and one of them is enough")
        return Settings(
            packages=self._each(("packages",), _package),
            absent=tuple(map(self._absent, enumerate(self._each(("absent",), to.path)))),
            restart=restart,
            reload=reload,
            concerns=(*self._concerns("restart"), *self._concerns("reload")),
            owners=tuple(self._owner(pattern, table) for pattern, table in self._table("owner").items()),
            variables=variables,
            variables_of=variables_of,
        )

    def _absent(self, numbered: tuple[int, bytes]) -> Absent:
        at, path = numbered
        if path == b"/":
            self._wrong(("absent", at), "the root cannot be absent")
        if fault := path_fault(path):
            self._wrong(("absent", at), fault)
        if set(b"*?") & set(path):  # as a name it would be passed over without a word, wherever it is meant
            self._wrong(("absent", at), f"{shown(path)} is a pattern, and here each path is named")
        return Absent(path, self._where(("absent", at)))

    def _units(self, key: str) -> tuple[Unit, ...]:
        given = self._data.get(key)
        if not isinstance(given, dict):
            return tuple(map(Unit, self._each((key,), _service)))
        units = [
            Unit(self._convert((key, name), _service, name), self._each((key, name), _path_pattern))
            for name in given
        ]
        for unit in units:
            if not unit.paths:  # on its way it would mean any path
                self._wrong(
                    (key, unit.name), f'an empty list means never; for any path: {key} = ["{unit.name}"]'
                )
        return tuple(units)

    def _concerns(self, key: str) -> Iterator[Concern]:
        """Of units that are well-formed."""
        given = self._data.get(key)
        for name, patterns in given.items() if isinstance(given, dict) else ():
            for at, pattern in enumerate(patterns):
                yield Concern(_dotted((key, name)), pattern, self._where((key, name, at)))

    def _owner(self, pattern: str, table: object) -> Owner:
        place = ("owner", pattern)
        self._convert(place, to.pattern, pattern)
        if not isinstance(table, dict):
            self._wrong(place, to.misfit(table))
        self._refuse_unknown(place, table, _OWNER)
        if not table:
            self._wrong(place, "says nothing")

        def get(key: str, convert: Callable[[object], Value]) -> Value | None:
            return self._convert((*place, key), convert, table[key]) if key in table else None

        return Owner(
            pattern, get("user", _account), get("group", _account), get("mode", _mode), self._where(place)
        )

    def _variables(self) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
        """(those of all hosts, those of each host)."""
        common: dict[str, str] = {}
        by_host: dict[str, dict[str, str]] = {}
        for name, value in self._table("vars").items():
            place = ("vars", name)
            if isinstance(value, dict):
                by_host[name] = {key: self._variable((*place, key), one) for key, one in value.items()}
            else:
                common[name] = self._variable(place, value)
        return common, by_host

    def _variable(self, place: Place, value: object) -> str:
        name = str(place[-1])
        if not is_variable_name(name):
            self._wrong(place, f"{name!r} cannot stand in ${{…}}: letters, digits and _, no digit first")
        return self._convert(place, _printed, value)

    # -- what the methods above are made of ------------------------------------------------------------

    def _table(self, key: str) -> dict[str, object]:
        table = self._data.get(key, {})
        if not isinstance(table, dict):
            self._wrong((key,), to.misfit(table))
        return table

    def _each(self, place: Place, convert: Callable[[object], Value]) -> tuple[Value, ...]:
        given: Any = self._data
        for name in place:
            given = given.get(name, [])
        if not isinstance(given, list):
            self._wrong(place, to.misfit(given))
        values: list[Value] = []
        for at, element in enumerate(given):
            value = self._convert((*place, at), convert, element)
            if value in values:
                self._wrong((*place, at), f"{element!r} stands there twice")
            values.append(value)
        return tuple(values)

    def _convert(self, place: Place, convert: Callable[[object], Value], value: object) -> Value:
        try:
            return convert(value)
        except WrongError as wrong:
            self._wrong(place, str(wrong))

    def _refuse_unknown(self, above: Place, table: Mapping[str, object], known: tuple[str, ...]) -> None:
        from difflib import get_close_matches

        for key in table:
            if key not in known:
                near = get_close_matches(key, known, 1)
                advice = f"did you mean {near[0]}?" if near else f"allowed are {', '.join(known)}"
                place = (*above, key)
                raise ConfigError(f"{self._where(place)}: unknown key {_dotted(place)}; {advice}")

    def _where(self, place: Place) -> str:
        while place not in self._lines and len(place) > 1:
            place = place[:-1]
        return f"{self._source}:{self._lines.get(place, 1)}"

    def _wrong(self, place: Place, problem: str) -> NoReturn:
        # Within [owner."PATTERN"] what is allowed depends on the last name, elsewhere on the first.
        sort = f"owner.{place[2]}" if place[0] == "owner" and len(place) > 2 else str(place[0])
        raise ConfigError(f"{self._where(place)}: {_dotted(place)}: {problem}; allowed is {_ALLOWED[sort]}")


def is_variable_name(name: str) -> bool:
    """Whether `${name}` in a template can mean it."""
    return name.isascii() and name.isidentifier()


def _dotted(place: Place) -> str:
    """A key as one would write it; of a list, the list's."""
    names = [str(part) for part in place if isinstance(part, str)]
    return ".".join(name if name.replace("-", "_").isidentifier() else f'"{name}"' for name in names)


def _account(value: object) -> str:
    """A user or group: a name, or a number, which means the same on every host."""
    if isinstance(value, int) and not isinstance(value, bool):
        given = str(value)
    else:
        given = to.text(value)
        to.word(given)
    if not is_account(given) or given.startswith("-"):
        raise WrongError(to.misfit(value))
    return given


def _package(value: object) -> str:
    given = to.text(value)
    if not is_package(given):
        raise WrongError(to.misfit(given))
    return given


def _service(value: object) -> str:
    given = to.text(value)
    if not is_service(given):
        raise WrongError(to.misfit(given))
    return given


def _path_pattern(value: object) -> str:
    """A pattern over whole paths."""
    given = to.pattern(value)
    if not given.startswith("/"):
        raise WrongError(f"{given!r} is not absolute")
    if not is_path_pattern(given):
        raise WrongError(f"{given[:80]!r}… is too long")
    return given


def _mode(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        raise WrongError(f"{value} is a number, and would be read as decimal")
    given = to.text(value)
    if not 3 <= len(given) <= 5 or given.strip("01234567") or int(given, 8) > 0o7777:
        raise WrongError(to.misfit(given))
    return int(given, 8)


def _printed(value: object) -> str:
    """A value as it stands in a template's place."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        raise WrongError(f'{value} may not be what was written; write it as a text: "1.10"')
    if not isinstance(value, str | int):
        raise WrongError(to.misfit(value))
    return str(value)
