"""Recipients: the public keys for which secrets are encrypted, as people write them.

Called by the configuration, to check them, and by whatever says who could open a secret. Three sorts are
taken: `age1…` (X25519), `ssh-ed25519 …` and `ssh-rsa …` with an optional comment. It must not encrypt: that
is the business of `adapters/age`.
"""

from __future__ import annotations

from typing import NamedTuple

_BECH32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_BECH32_GENERATORS = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_X25519_LENGTH = 52  # characters of five bits, without the checksum
_SSH = ("ssh-ed25519", "ssh-rsa")
_ED25519_LENGTH = 51  # bytes: two lengths, the name of the kind, the key
_SHOWN = 16


class Recipient(NamedTuple):
    """One public key; `comment` is whose it is, where that was written behind it."""

    key: str
    comment: str = ""

    @property
    def shown(self) -> str:
        """Enough of it for a person to know it again."""
        kind, _, data = self.key.partition(" ")
        if not data:
            return f"{self.key[:_SHOWN]}…"
        return f"{self.comment} ({kind})" if self.comment else f"{kind} …{data[-_SHOWN:]}"

    def __str__(self) -> str:
        """As it is written in `pacha.toml`."""
        return f"{self.key} {self.comment}".rstrip()


def parse_recipient(text: str) -> Recipient:
    """Raise ValueError, with a clause that says what is wrong, for what nothing can be encrypted for."""
    if text.startswith("AGE-SECRET-KEY-"):
        raise ValueError("is a private key: it must not be here; age-keygen -y FILE prints its public key")
    if text.startswith("age1"):
        _check_age(text)
        return Recipient(text)
    kind, _, rest = text.partition(" ")
    data, _, comment = rest.strip().partition(" ")
    if kind not in _SSH:
        raise ValueError("is no recipient")
    _check_ssh(kind, data)
    return Recipient(f"{kind} {data}", comment.strip())


def _check_age(text: str) -> None:
    prefix, _, coded = text.rpartition("1")
    if prefix != "age":
        raise ValueError("is a key of a plugin or of another sort than X25519, which Pacha does not take")
    values = [_BECH32.find(letter) for letter in coded]
    if -1 in values or len(values) != _X25519_LENGTH + 6 or not _has_checksum(prefix, values):
        raise ValueError("is mistyped: its checksum is wrong")


def _has_checksum(prefix: str, values: list[int]) -> bool:
    """Bech32's, as in BIP 173."""
    checksum = 1
    for value in [*(ord(c) >> 5 for c in prefix), 0, *(ord(c) & 31 for c in prefix), *values]:
        top = checksum >> 25
        checksum = (checksum & 0x1FFFFFF) << 5 ^ value
        for bit, generator in enumerate(_BECH32_GENERATORS):
            checksum ^= generator if top >> bit & 1 else 0
    return checksum == 1


def _check_ssh(kind: str, data: str) -> None:
    from binascii import Error, a2b_base64

    try:
        key = a2b_base64(data.encode(), strict_mode=True)
    except (Error, ValueError):
        raise ValueError("is mistyped: what follows its kind is no base64") from None
    name = kind.encode()
    is_whole = key.startswith(len(name).to_bytes(4, "big") + name)
    if not is_whole or (kind == "ssh-ed25519" and len(key) != _ED25519_LENGTH):
        raise ValueError(f"is mistyped: it holds no {kind} key")
