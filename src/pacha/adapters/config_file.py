"""Reads `pacha.toml`, and edits its `watch` list in place, as a careful person with an editor would.

Called when a command starts, and by `watch` and `unwatch`. It must not judge values (`core/config` does), nor
touch anything but the one file: comments, order and formatting of the rest stay, and who reads the file at
any instant, or after a power cut, sees the old text or the new. The lock of the operations keeps two edits
apart; that an editor saved in between is noticed, all but in the last instant.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from pacha.core.config import Config, defaults, parse
from pacha.core.errors import ConfigError, Failed, NoSpace, PachaError, ReadOnly, UsageError

_LARGEST = 1_000_000
_LONGEST_LINE = 100
_BOM = b"\xef\xbb\xbf"
_ATTEMPTS = 5
_HEADER = """\
# What Pacha does on this host. Every key has a default; `pacha config` shows what is in force.
# `pacha watch` and `pacha unwatch` edit this file in place and keep its comments.

"""


class _Found(NamedTuple):
    """The file as it was read; `status` None where it was missing."""

    data: bytes
    status: os.stat_result | None


def load(path: str) -> Config:
    """Return the configuration in the file `path`, all defaults where it is missing. ConfigError else."""
    found = _read(path)
    if found.status is None:
        return defaults(path)
    return parse(_text(found.data, path), path)


def written(path: str) -> tuple[int, ...]:
    """What differs once the file was written again; empty where there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return ()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def add_watch(path: str, watch_paths: Sequence[bytes]) -> list[bytes]:
    """Add absolute, normalised paths to `watch`; return those that were not in it before.

    A missing file is made, with its directories. UsageError for a path that TOML cannot hold, ConfigError
    where the file is wrong already; ReadOnly, NoSpace or Failed where it cannot be written. Then nothing has
    changed.
    """
    for watch_path in watch_paths:
        _refuse_unless_utf8(watch_path)

    def edit(watch: Any, present: list[bytes]) -> list[bytes]:
        new = [each for each in dict.fromkeys(watch_paths) if each not in present]
        for each in new:
            watch.append(each.decode())
        return new

    return _edit(path, edit)


def remove_watch(path: str, watch_paths: Sequence[bytes]) -> list[bytes]:
    """Remove paths from `watch`, however written; return those that were in it. Errors as for `add_watch`."""

    def edit(watch: Any, present: list[bytes]) -> list[bytes]:
        for at in range(len(watch) - 1, -1, -1):
            if _normalised(str(watch[at])) in watch_paths:
                del watch[at]
        return [each for each in present if each in watch_paths]

    return _edit(path, edit)


def make(path: str) -> bool:
    """Make a file that says nothing yet where there is none; whether it was made. Errors as for
    `add_watch`.
    """
    return _read(path).status is None and _replace(path, None, _HEADER.encode())


def rewrite(path: str, change: Callable[[str], str]) -> bool:
    """Let `change` make another text of the file; whether it did. Errors as for `add_watch`."""
    for _ in range(_ATTEMPTS):
        found = _read(path)
        if found.status is not None and not stat.S_ISREG(found.status.st_mode):
            raise ConfigError(f"{path}: cannot be edited: it is no file", hint="--config FILE names one")
        old = _text(found.data, path) if found.status else _HEADER
        parse(old, path)
        new = change(old)
        if new == old:
            return False
        parse(new, path)
        bom = _BOM if found.data.startswith(_BOM) else b""
        if _replace(path, found.status, bom + new.encode()):
            return True
    raise Failed(f"{path} is being changed by somebody else all the time", hint="try again")


def before_tables(text: str, line: str) -> str:
    """Return `text` with a line before its first table and the comment above that."""
    lines = text.splitlines(keepends=True)
    first_table = next((at for at, one in enumerate(lines) if _is_header(lines, at, one)), len(lines))
    at = first_table
    while at and at < len(lines) and lines[at - 1].lstrip().startswith("#"):
        at -= 1
    if at == 0:
        at = first_table  # the comment at the top is about the whole file
    above, below = "".join(lines[:at]), "".join(lines[at:])
    if above and not above.endswith("\n"):
        above += "\n"
    return f"{above}{line}\n" + ("\n" if below.strip() else "") + below


def _refuse_unless_utf8(path: bytes) -> None:
    try:
        path.decode()
    except UnicodeDecodeError:
        shown = path.decode("utf-8", "backslashreplace")
        above = os.path.dirname(path).decode("utf-8", "backslashreplace")
        hint = f"watch the directory it lies in: {above}"
        raise UsageError(f"{shown} is not UTF-8, and pacha.toml can name no such path", hint=hint) from None


def _normalised(written: str) -> bytes:
    return b"/" + b"/".join(name for name in written.encode().split(b"/") if name not in (b"", b"."))


def _read(path: str) -> _Found:
    try:
        # Opening a fifo would wait for somebody to write; reading one, as of `<(…)`, does not take long.
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return _Found(b"", None)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        os.set_blocking(file, True)
        data = b""
        while len(data) <= _LARGEST and (piece := os.read(file, _LARGEST)):
            data += piece
        status = os.fstat(file)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    finally:
        os.close(file)
    if len(data) > _LARGEST:
        raise ConfigError(f"{path}: is larger than {_LARGEST // 1_000_000} MB, which no configuration is")
    return _Found(data, status)


def _text(data: bytes, path: str) -> str:
    try:
        return data.removeprefix(_BOM).decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}:{line}: is not UTF-8, which TOML must be") from error


def _edit(path: str, change: Callable[[Any, list[bytes]], list[bytes]]) -> list[bytes]:
    """Let `change` edit the list, and write the file if it did; return what `change` returned."""
    done: list[bytes] = []

    def edit(old: str) -> str:
        nonlocal done
        new, done = _edited(old, path, change)
        return new if done else old

    rewrite(path, edit)
    return done


def _edited(
    old: str, path: str, change: Callable[[Any, list[bytes]], list[bytes]]
) -> tuple[str, list[bytes]]:
    import tomlkit

    before = parse(old, path)
    document = tomlkit.parse(old if "watch" in before.values else before_tables(old, "watch = []"))
    watch: Any = document["watch"]
    done = change(watch, before.watch)
    rendered = watch.as_string()
    if "\n" not in rendered and len("watch = ") + len(rendered) > _LONGEST_LINE:
        watch.multiline(True)
    new = document.as_string()
    # The list was edited by a library that knows comments, not our schema: look before it becomes the file.
    if done and set(parse(new, path).watch) != set(before.watch) ^ set(done):
        raise Failed(f"{path} could not be edited without damage", hint="edit its `watch` list by hand")
    return new, done


def _is_header(lines: list[str], at: int, line: str) -> bool:
    """Return True if the line opens a table: it is not amidst a longer value, as what is above is whole."""
    if not line.lstrip().startswith("["):
        return False
    import tomllib

    with suppress(tomllib.TOMLDecodeError):
        tomllib.loads("".join(lines[:at]))
        return True
    return False


def _replace(path: str, expected: os.stat_result | None, data: bytes) -> bool:
    """Write the file beside itself and rename it; False where it is no longer as `expected`."""
    target = os.path.realpath(path)
    name = os.path.basename(target)
    # A name that no capture takes for a file: core/rules.
    temporary = f".pacha.{os.urandom(8).hex()}.new"
    try:
        directory = _open_directory(os.path.dirname(target))
    except OSError as error:
        raise _in_words(path, error) from error
    try:
        _write_new(directory, temporary, name, expected, data)
        if not _is_as(directory, name, expected):
            return False
        os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
        os.fsync(directory)
        return True
    except OSError as error:
        raise _in_words(path, error) from error
    finally:
        with suppress(OSError):
            os.unlink(temporary, dir_fd=directory)
        os.close(directory)


def _open_directory(path: str) -> int:
    """Open a directory; make it where it is missing, and those above it, 0755 whatever the umask says."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    try:
        return os.open(path, flags)
    except FileNotFoundError:
        above = _open_directory(os.path.dirname(path))
    try:
        name = os.path.basename(path)
        with suppress(FileExistsError):
            os.mkdir(name, dir_fd=above)
        directory = os.open(name, flags | os.O_NOFOLLOW, dir_fd=above)
        os.fchmod(directory, 0o755)
        os.fsync(above)
        return directory
    finally:
        os.close(above)


def _write_new(directory: int, temporary: str, name: str, old: os.stat_result | None, data: bytes) -> None:
    """Write `data` with owner, attributes, ACL and mode of the old file, all before anybody can read it."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    file = os.open(temporary, flags, 0o600, dir_fd=directory)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(file, view) :]
        if old is not None:
            mine = os.fstat(file)
            if (old.st_uid, old.st_gid) != (mine.st_uid, mine.st_gid):
                os.fchown(file, old.st_uid, old.st_gid)
            _copy_attributes(directory, name, file)
        os.fchmod(file, stat.S_IMODE(old.st_mode) if old is not None else 0o644)
        os.fsync(file)
    finally:
        os.close(file)


def _copy_attributes(directory: int, name: str, file: int) -> None:
    """Copy extended attributes, of which ACLs and SELinux labels are some, as far as we may."""
    source = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    try:
        with suppress(OSError):
            for attribute in os.listxattr(source):
                _copy_attribute(source, attribute, file)
    finally:
        os.close(source)


def _copy_attribute(source: int, attribute: str, file: int) -> None:
    try:
        os.setxattr(file, attribute, os.getxattr(source, attribute))
    except OSError as error:
        # An ACL says who may read the file: without it, better no edit. A label is the system's own business.
        if attribute.startswith("system.posix_acl") and error.errno != errno.ENODATA:
            raise


def _is_as(directory: int, name: str, expected: os.stat_result | None) -> bool:
    """Return True unless somebody changed, replaced, made or removed the file in the meantime."""
    try:
        now = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return expected is None
    return expected is not None and _signature(now) == _signature(expected)


def _signature(status: os.stat_result) -> tuple[int, ...]:
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def _in_words(path: str, error: OSError) -> PachaError:
    message = f"{path} cannot be written: {error.strerror}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return NoSpace(message)
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return ReadOnly(message, hint="--config FILE names another file")
    return Failed(message)
