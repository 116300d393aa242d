"""The text of a TOML file as data with the line of each key, and words for a text that is no TOML.

Called by whatever has a schema for such a file: the configuration, and the `pacha.toml` of a deployment. It
must not know any schema, or read a file.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from pacha.core.errors import ConfigError
from pacha.core.toml_lines import Place, given_twice, line_numbers
from pacha.core.toml_plain import read_plain


class Parsed(NamedTuple):
    """What a file says, and on which line each key and each element of a list stands."""

    data: dict[str, Any]
    lines: dict[Place, int]


def parse_toml(text: str, source: str) -> Parsed:
    """Raise ConfigError, which names `source` and the line, where it is no TOML."""
    plain = read_plain(text)
    if plain is not None:
        return Parsed(*plain)
    import tomllib  # not above: it takes longer than all the rest

    try:
        data = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise _syntax_error(text, source, error) from error
    return Parsed(data, line_numbers(text))


def _syntax_error(text: str, source: str, error: Exception) -> ConfigError:
    """Find the line: tomllib's messages end with "(at line N, column M)" or "(at end of document)"."""
    message = "nested too deeply" if isinstance(error, RecursionError) else str(error)
    words, _, position = message.partition(" (at ")
    number = "".join(c for c in position.partition(",")[0] if c.isdigit())
    line = int(number) if number else max(len(text.splitlines()), 1)
    twice = None if isinstance(error, RecursionError) else given_twice(text)
    if twice is not None and twice[2] <= line:
        place, first, again = twice
        key = ".".join(part for part in place if isinstance(part, str))
        return ConfigError(
            f"{source}:{again}: {key}: is given twice, for the first time in line {first}",
            hint="keep one of them",
        )
    return ConfigError(f"{source}:{line}: not valid TOML: {words}", hint="see https://toml.io for the syntax")
