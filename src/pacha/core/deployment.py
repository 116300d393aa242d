"""A deployment: what was read from its directory, checked as a whole, and what of it goes to which host.

Called by `push`, `sign` and a server that a host pulls from, which read it by `adapters/deployment`.
Everything that can be wrong is found here, before the first connection, and told with file and line. It must
not read a file, nor know how anything travels: that is `core/parcel`.

    Sources, as read → Prepared, checked → for_host → Rendered, with the values of one host in its templates
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import NamedTuple

from pacha.core.config_values import is_host_name
from pacha.core.deployment_file import Absent, Concern, Owner, Settings, parse_settings
from pacha.core.destinations import host_of
from pacha.core.entry import DIRECTORY, FILE, SYMLINK, content_digest
from pacha.core.errors import ConfigError, Refused
from pacha.core.names import ancestors, is_below, split
from pacha.core.parcel import MOMENTS, Deployment, Item, Parcel, Script, render, revision_of
from pacha.core.parcel_line import FILE_AT_MOST, is_hook, parse, path_fault
from pacha.core.patterns import Ignore
from pacha.core.quantities import format_size
from pacha.core.shown import shown
from pacha.core.template import fill, names

FILES, TEMPLATES, HOOKS = PARTS = ("files", "templates", "hooks")
STATEMENT_FILE, SIGNATURE_FILE = "signed.json", "signed.json.sig"  # no part of it: see core/signed
# What a file's own mode in files/ never gives: a checkout under another umask would make it so.
_NOT_BY_CHECKOUT = 0o7022
_DEFAULT = ""  # root, or who receives it: the host knows


class Source(NamedTuple):
    """One entry of the directory as it was read."""

    path: bytes  # of files/ and templates/: as on the host; of hooks/: below that
    where: str  # its file, for a message
    kind: bytes
    mode: int
    data: bytes = b""  # of a file
    target: bytes = b""  # of a symbolic link


class Sources(NamedTuple):
    """The whole directory as it was read."""

    name: str
    settings_file: str  # pacha.toml, for a message
    settings: str  # its text
    files: tuple[Source, ...] = ()
    templates: tuple[Source, ...] = ()
    hooks: tuple[Source, ...] = ()


class Rendered(NamedTuple):
    """All that one host gets; `contents` by digest."""

    deployment: Deployment
    contents: Mapping[str, bytes]


class Prepared:
    """A checked deployment, from which each host gets its own."""

    def __init__(self, sources: Sources) -> None:
        """Raise ConfigError for the first thing that is wrong, whichever host it would be pushed to."""
        self.name = _name(sources.name)
        self._settings = settings = parse_settings(sources.settings, sources.settings_file)
        self._owners = [(owner, Ignore([owner.pattern], built_in=False)) for owner in settings.owners]
        self._templates = {one.path: one for one in sources.templates if one.kind == FILE}
        _check_tree(sources, self._templates, settings)
        _check_owners(self._owners, [*sources.files, *sources.templates])
        _check_concerns(settings, [*sources.files, *sources.templates])
        entries = {one.path: one for one in (*sources.templates, *sources.files)}
        on_the_way = {split(path)[0] for path in entries}
        self._items = [
            one
            for _, one in sorted(entries.items())
            # Of a directory that only leads to others the host is not told: it may look there as it likes.
            if one.path not in on_the_way or one.kind != DIRECTORY or self._rules(one)
        ]
        for one in self._items:
            if fault := path_fault(one.path):
                raise ConfigError(f"{one.where}: {fault}")
        self._scripts = tuple(_scripts(sources.hooks))
        self._asked_for = set[str]().union(*(names(one.data) for one in self._templates.values()))
        self._rendered: dict[frozenset[tuple[str, str]], Rendered] = {}

    def for_host(self, destination: str) -> Rendered:
        """What a host gets; hosts with the same values share one. ConfigError where a template names a value
        that this host has not, or where the whole is more than a host takes.
        """
        variables = self._variables(destination)
        key = frozenset((name, value) for name, value in variables.items() if name in self._asked_for)
        if key not in self._rendered:
            self._rendered[key] = self._render(variables, host_of(destination))
        return self._rendered[key]

    def _variables(self, destination: str) -> dict[str, str]:
        host = host_of(destination)
        common, of_host = self._settings.variables, self._settings.variables_of
        return {"pacha_host": host, **common, **of_host.get(host, {}), **of_host.get(destination, {})}

    def _render(self, variables: Mapping[str, str], host: str) -> Rendered:
        contents: dict[str, bytes] = {}
        settings = self._settings
        made = Deployment(
            self.name,
            items=tuple(self._item(one, variables, host, contents) for one in self._items),
            absent=tuple(one.path for one in settings.absent),
            packages=settings.packages,
            restart=settings.restart,
            reload=settings.reload,
            hooks=tuple(
                Script(moment, name, _keep(data, contents), len(data)) for moment, name, data in self._scripts
            ),
        )
        made = made._replace(revision=revision_of(made))
        try:
            parse(render(Parcel(made)))
        except Refused as problem:
            raise ConfigError(f"the deployment {self.name} cannot be delivered: {problem}") from None
        return Rendered(made, contents)

    def _rules(self, source: Source) -> list[Owner]:
        is_directory = source.kind == DIRECTORY
        return [owner for owner, matcher in self._owners if matcher.matches(source.path, is_directory)]

    def _item(
        self, source: Source, variables: Mapping[str, str], host: str, contents: dict[str, bytes]
    ) -> Item:
        path, is_directory = source.path, source.kind == DIRECTORY
        user, group, mode = _DEFAULT, _DEFAULT, source.mode & ~_NOT_BY_CHECKOUT
        for rule in self._rules(source):  # of those that say something, the last counts
            user, group = rule.user or user, rule.group or group
            if rule.mode is not None:
                mode = _searchable(rule.mode) if is_directory else rule.mode
        if is_directory:
            return Item(path, DIRECTORY, mode, user, group)
        if source.kind == SYMLINK:
            return Item(path, SYMLINK, 0o777, user, group, target=source.target)
        data = source.data
        if path in self._templates:
            data = fill(data, variables, source.where, host)
            if len(data) > FILE_AT_MOST:
                most = format_size(FILE_AT_MOST)
                raise ConfigError(
                    f"{source.where}: is {format_size(len(data))} for {host}, and {most} is the most"
                )
        return Item(path, FILE, mode, user, group, _keep(data, contents), len(data))


def _keep(data: bytes, contents: dict[str, bytes]) -> str:
    """The digest of a content, which from now on is among them."""
    digest = _digest(data)
    contents[digest] = data
    return digest


def _digest(data: bytes) -> str:
    return content_digest(data).decode()


def _name(name: str) -> str:
    if not is_host_name(name):
        hint = 'letters, digits, ".", "_" and "-", at most 64, not beginning with "." or "-"'
        raise ConfigError(
            f"a deployment cannot be called {name!r}: it has the name of its directory", hint=hint
        )
    return name


def _searchable(mode: int) -> int:
    """The mode for a directory: who may read it may also enter it."""
    return mode | (mode & 0o444) >> 2


# -- what is checked ---------------------------------------------------------------------------------------


def _check_tree(sources: Sources, templates: Mapping[bytes, Source], settings: Settings) -> None:
    """Files, templates and what shall be absent against each other, and each link by itself."""
    files = {one.path: one for one in sources.files}
    for one in sources.templates:
        other = files.get(one.path)
        if one.kind == SYMLINK:
            raise ConfigError(
                f"{one.where}: is a symbolic link, and a template is a file", hint="move it to files/"
            )
        if other is not None and (one.kind, other.kind) != (DIRECTORY, DIRECTORY):
            raise ConfigError(f"{one.where}: is there twice: {other.where}", hint="keep one of them")
        for above in ancestors(one.path):
            if above in files and files[above].kind != DIRECTORY:
                raise ConfigError(f"{one.where}: lies below {files[above].where}, which is no directory")
    delivered = {**templates, **files}
    for one in sources.files:
        if one.kind == SYMLINK:
            _check_link(one, delivered)
    for absent in settings.absent:
        over = [delivered[path] for path in ancestors(absent.path) if path in delivered]
        if over and over[-1].kind != DIRECTORY:
            clash = over[-1].where
            words = f"{shown(absent.path)} lies below {clash}, which is no directory"
            raise ConfigError(f"{absent.where}: absent: {words}")
        below = [path for path in delivered if absent.path == path or absent.path in ancestors(path)]
        if below:
            clash = delivered[below[0]].where
            raise ConfigError(
                f"{absent.where}: absent: {shown(absent.path)} shall be absent, and {clash} is delivered"
            )


def _check_link(link: Source, delivered: Mapping[bytes, Source]) -> None:
    """A link may name what the deployment delivers, or, written as a relative path, anything of the host:
    then somebody meant it.
    """
    target, folder = link.target, posixpath.dirname(link.path)
    if target.startswith(b"/"):
        if posixpath.normpath(target) in delivered:
            return
        relative = shown(posixpath.relpath(posixpath.normpath(target), folder))
        words = f"{link.where}: points out of the deployment, to {shown(target)}"
        raise ConfigError(words, hint=f"for a link to that path of the host: ln -sfn {relative} {link.where}")
    # Above the root there is nothing: whoever goes there means something outside files/.
    depth = folder.count(b"/") if folder != b"/" else 0
    for name in target.split(b"/"):
        depth += {b"..": -1, b".": 0, b"": 0}.get(name, 1)
        if depth < 0:
            raise ConfigError(f"{link.where}: points out of the deployment, to {shown(target)}")


def _check_owners(owners: Iterable[tuple[Owner, Ignore]], sources: Sequence[Source]) -> None:
    """A pattern that matches nothing is a mistake: its files would get another owner or mode."""
    for owner, matcher in owners:
        if not any(matcher.matches(one.path, one.kind == DIRECTORY) for one in sources):
            raise ConfigError(f"{owner.where}: owner: {owner.pattern!r} matches nothing that is delivered")


def _check_concerns(settings: Settings, sources: Sequence[Source]) -> None:
    """A pattern that nothing can match is a mistake: its service would never be restarted."""
    for concern in settings.concerns:
        matcher = Ignore([concern.pattern], built_in=False)
        if any(matcher.matches(one.path) for one in sources):
            continue
        if not any(_may_match(concern, absent) for absent in settings.absent):
            words = f"{concern.pattern!r} matches nothing that is delivered or absent"
            raise ConfigError(f"{concern.where}: {concern.key}: {words}")


def _may_match(concern: Concern, absent: Absent) -> bool:
    """Whether a pattern may mean something at or below a path that goes: what is there, the host knows."""
    names = concern.pattern.split("/")
    at = next((at for at, name in enumerate(names) if set(name) & set("*?[\\")), len(names))
    plain = "/".join(names[:at]).encode("utf-8", "surrogateescape") or b"/"
    return is_below(plain, absent.path) or (at < len(names) and is_below(absent.path, plain))


def _scripts(sources: Iterable[Source]) -> Iterable[tuple[str, str, bytes]]:
    """(moment, name, content) of each hook."""
    for one in sources:
        moment, _, name = one.path[1:].partition(b"/")
        words = shown(moment)
        if words not in MOMENTS:
            near = get_close_matches(words, MOMENTS, 1)
            advice = f"did you mean {near[0]}?" if near else f"allowed are {', '.join(MOMENTS)}"
            raise ConfigError(f"{one.where}: {words} is no moment of a push; {advice}")
        if not name and one.kind == DIRECTORY:
            continue
        if one.kind != FILE:
            what = "directory" if one.kind == DIRECTORY else "symbolic link"
            raise ConfigError(
                f"{one.where}: is a {what}, and a hook is a file", hint="copy what it shall run there"
            )
        if not name:
            hint = f"move it into {HOOKS}/{words}/"
            raise ConfigError(f"{one.where}: is no directory of hooks", hint=hint)
        if not is_hook(shown(name)):
            hint = 'letters, digits, "_", "-" and "+", and one "." before the last few of them'
            raise ConfigError(f"{one.where}: a hook cannot be called so", hint=hint)
        if not one.mode & 0o111:
            raise ConfigError(
                f"{one.where}: is not executable, and would not run", hint=f"chmod +x {one.where}"
            )
        yield words, shown(name), one.data
