"""Stores that were replaced, kept: a folder `<state>/archive/` with one folder for each.

Called by `ops/catch_up` and `ops/rebuild_line`, which have a store built here and then put it in the place of
the one in use. Both change places at one instant, so whoever is killed leaves the old one or the new one in
use, and the other here. It must not remove anything but a half-built store.
"""

from __future__ import annotations

import ctypes
import os
import shutil

from pacha.adapters.disk import sync_folder

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2
_BUILT = b".new"


class Archive:
    """The archive of one state folder."""

    def __init__(self, folder: bytes) -> None:
        self._folder = folder

    def begin(self, name: str) -> bytes:
        """A path for a store to be built at, which does not exist, `name` being of this moment; what was left
        half-built is removed, if not by us, then by the next.

        The Mercurial child of a Pacha that was killed goes on building for a moment.
        """
        os.makedirs(self._folder, mode=0o700, exist_ok=True)
        for left in os.listdir(self._folder):
            if left.endswith(_BUILT):
                self.drop(os.path.join(self._folder, left))
        return os.path.join(self._folder, name.encode() + _BUILT)

    def put(self, built: bytes, store: bytes) -> bytes:
        """Put what was built in the place of the store in use; where the old one is now."""
        place = built.removesuffix(_BUILT)
        os.rename(built, place)
        sync_folder(self._folder)
        if os.path.exists(store):
            _exchange(place, store)
        else:
            os.rename(place, store)
        sync_folder(self._folder)
        sync_folder(os.path.dirname(store))
        return place

    def retire(self, name: str, store: bytes) -> bytes:
        """Keep the store in use here, with none in its place; where it is now."""
        os.makedirs(self._folder, mode=0o700, exist_ok=True)
        place = os.path.join(self._folder, name.encode())
        os.rename(store, place)
        sync_folder(self._folder)
        sync_folder(os.path.dirname(store))
        return place

    def stores(self) -> list[bytes]:
        """The folder that holds the `.hg` of each."""
        try:
            names = [name for name in os.listdir(self._folder) if not name.endswith(_BUILT)]
        except FileNotFoundError:
            return []
        return [os.path.join(self._folder, name) for name in sorted(names)]

    def drop(self, built: bytes) -> None:
        """Remove what is not needed after all."""
        shutil.rmtree(built, ignore_errors=True)


def _exchange(one: bytes, other: bytes) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(_AT_FDCWD, one, _AT_FDCWD, other, ctypes.c_uint(_RENAME_EXCHANGE)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), other)
