"""POSIX access control lists: the kernel's binary form and the words that stand in a metadata line.

Called by the reader and the writer of live entries. The binary form is that of the extended attributes
`system.posix_acl_access` and `…_default` (Linux `include/uapi/linux/posix_acl_xattr.h`): a 32-bit version 2,
then entries of tag, permissions (16 bits each) and id (32 bits), little-endian. In words:
`u::rw-,u:1001/alice:r--,g::r--,m::rw-,o::---`, the number first and the name behind it, so that a restore can
prefer the name and fall back to the number. It must not look anything up: names are handed in as functions.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from pacha.core.names import escape, unescape

_TAGS = {0x01: b"u", 0x02: b"u", 0x04: b"g", 0x08: b"g", 0x10: b"m", 0x20: b"o"}
_NAMED = (0x02, 0x08)
_PERMISSIONS = b"rwx"


def _escape(name: bytes) -> bytes:
    """Also the bytes that part entries and fields."""
    return escape(name).replace(b",", b"%2C").replace(b":", b"%3A")


def to_words(binary: bytes, user_name: Callable[[int], bytes], group_name: Callable[[int], bytes]) -> bytes:
    """The list in words; raise ValueError where `binary` is not version 2 of the format."""
    if len(binary) % 8 != 4 or struct.unpack_from("<I", binary)[0] != 2:
        raise ValueError("unknown form of access control list")
    words = []
    for tag, permissions, number in struct.iter_unpack("<HHI", binary[4:]):
        if tag not in _TAGS or permissions > 7:
            raise ValueError("unknown entry in an access control list")
        who = b""
        if tag in _NAMED:
            name = (user_name if tag == 0x02 else group_name)(number)
            who = b"%d/%s" % (number, _escape(name))
        words.append(b":".join((_TAGS[tag], who, _shown(permissions))))
    return b",".join(words)


def to_binary(
    words: bytes, user_number: Callable[[bytes, int], int], group_number: Callable[[bytes, int], int]
) -> bytes:
    """The kernel's form; each named entry's number is what the function makes of (name, stored number).

    Raise ValueError for words that `to_words` could not have made.
    """
    entries = []
    for word in words.split(b","):
        kind, who, shown = word.split(b":")
        tag = {b"u": 0x01, b"g": 0x04, b"m": 0x10, b"o": 0x20}.get(kind)
        permissions = sum(4 >> i for i, c in enumerate(_PERMISSIONS) if shown[i : i + 1] == b"%c" % c)
        if tag is None or shown != _shown(permissions) or (who and kind not in b"ug"):
            raise ValueError("malformed access control list")
        number = 0xFFFFFFFF
        if who:
            digits, _, name = who.partition(b"/")
            tag += {0x01: 0x01, 0x04: 0x04}[tag]
            number = (user_number if kind == b"u" else group_number)(unescape(name), int(digits))
            if not 0 <= number < 1 << 32:
                raise ValueError("malformed access control list")
        entries.append((tag, number, permissions))
    # The kernel wants entries in the order of tag, then number; numbers may have changed with the names.
    return struct.pack("<I", 2) + b"".join(
        struct.pack("<HHI", tag, permissions, number) for tag, number, permissions in sorted(entries)
    )


def with_mode(words: bytes, mode: int) -> bytes:
    """The list as chmod(2) leaves it: the owner's and the others' entries, and the mask where there is one,
    else the group's, have the bits of the mode.
    """
    entries = words.split(b",")
    group = b"m::" if any(entry.startswith(b"m::") for entry in entries) else b"g::"
    bits = {b"u::": mode >> 6, group: mode >> 3, b"o::": mode}
    return b",".join(
        entry[:3] + _shown(bits[entry[:3]] & 7) if entry[:3] in bits else entry for entry in entries
    )


def _shown(permissions: int) -> bytes:
    return bytes(c if permissions & (4 >> i) else ord("-") for i, c in enumerate(_PERMISSIONS))
