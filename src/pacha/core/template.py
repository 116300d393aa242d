"""A template: a text in which `${name}` stands for a value of the deployment's `[vars]`.

Called by `core/deployment`, for each host. The rules are those of Python's `string.Template`: `$name` means
the same, `$$` is a dollar. It must not read a file. Bytes that are no UTF-8 stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from string import Template

from pacha.core.errors import ConfigError


def fill(data: bytes, variables: Mapping[str, str], source: str, whose: str) -> bytes:
    """The text with its values. ConfigError names `source`, the line, and for `whose` host it was."""
    text = data.decode("utf-8", "surrogateescape")
    if "$" not in text:
        return data
    template = Template(text)
    try:
        return template.substitute(variables).encode("utf-8", "surrogateescape")
    except (KeyError, ValueError):
        raise _first_problem(template, variables, source, whose) from None


def names(data: bytes) -> set[str]:
    """The values that a template asks for."""
    return set(Template(data.decode("utf-8", "surrogateescape")).get_identifiers())


def _first_problem(template: Template, variables: Mapping[str, str], source: str, whose: str) -> ConfigError:
    """Where in the text it is, which `substitute` tells only of one sort of mistake."""
    text = template.template
    for found in template.pattern.finditer(text):
        where = f"{source}:{text.count(chr(10), 0, found.start()) + 1}"
        name = found["named"] or found["braced"]
        if found["invalid"] is not None:
            return ConfigError(f"{where}: a $ before no name", hint="write $$ for the character itself")
        if name is not None and name not in variables:
            near = get_close_matches(name, variables, 1)
            hint = f"did you mean {near[0]}?" if near else f'set it in [vars] or [vars."{whose}"]'
            hint += f"; for the text itself write ${found[0]}"
            return ConfigError(f"{where}: {name} has no value for {whose}", hint=hint)
    raise AssertionError("the template has no mistake")
