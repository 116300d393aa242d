"""Lines of a TOML text: whatever tomllib finds in it has a line, and it is the right one."""

from __future__ import annotations

import tomllib

import tomlkit
from hypothesis import given, settings
from hypothesis import strategies as st

from pacha.core.toml_lines import Place, line_numbers

TEXT = """\
# [not] = "a table"
plain = "a # no comment" # watch = 1
'quoted key' = 'it'
"esc\\u0061ped" = 1
dotted . "inner.most" = [1, 2]

[table]   # [other]
multi = \"\"\"
fake = 1
[fake]
\\\"\"\" still \"\"\"\"
after = '''
fake = 2''''
list = [ "x]", # ]
  'y[',

  [ 1,
    2 ], { a = 1, b.c = [
 3] },
]
[ "table" . sub ]
x = 2026-01-01T00:00:00Z
[[many]]
a = 1
[[many]]
a = 2
[many.below]
b = +inf
[[many.deep]]
c = ""
inline = { }
empty = [
]"""

EXPECTED: dict[Place, int] = {
    ("plain",): 2,
    ("quoted key",): 3,
    ("escaped",): 4,
    ("dotted",): 5,
    ("dotted", "inner.most"): 5,
    ("dotted", "inner.most", 1): 5,
    ("table",): 7,
    ("table", "multi"): 8,
    ("table", "after"): 12,
    ("table", "list"): 14,
    ("table", "list", 0): 14,
    ("table", "list", 1): 15,
    ("table", "list", 2): 17,
    ("table", "list", 2, 1): 18,
    ("table", "list", 3): 18,
    ("table", "list", 3, "b", "c"): 18,
    ("table", "list", 3, "b", "c", 0): 19,
    ("table", "sub"): 21,
    ("table", "sub", "x"): 22,
    ("many",): 23,
    ("many", 0): 23,
    ("many", 0, "a"): 24,
    ("many", 1): 25,
    ("many", 1, "a"): 26,
    ("many", 1, "below"): 27,
    ("many", 1, "below", "b"): 28,
    ("many", 1, "deep", 0, "c"): 30,
    ("many", 1, "deep", 0, "empty"): 32,
}


def places(value: object, above: Place = ()) -> set[Place]:
    """Every place that tomllib finds."""
    found = {above} if above else set()
    if isinstance(value, dict):
        for key, inner in value.items():
            found |= places(inner, (*above, key))
    elif isinstance(value, list):
        for at, inner in enumerate(value):
            found |= places(inner, (*above, at))
    return found


def test_the_lines_of_an_awkward_text() -> None:
    lines = line_numbers(TEXT)
    assert set(lines) == places(tomllib.loads(TEXT))
    assert {place: lines[place] for place in EXPECTED} == EXPECTED


def test_carriage_returns_and_an_empty_text() -> None:
    assert line_numbers("") == {}
    assert line_numbers("# only\n") == {}
    assert line_numbers('a = 1\r\nb = [\r\n1,\r\n]\r\n[c]\r\nd = "x"') == {
        ("a",): 1,
        ("b",): 2,
        ("b", 0): 3,
        ("c",): 5,
        ("c", "d"): 6,
    }


VALUES = st.recursive(
    st.integers(-5, 5)
    | st.booleans()
    | st.text(st.characters(codec="utf-8"), max_size=6)
    | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None)  # the first call imports and compiles
@given(st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=5), VALUES, max_size=4))
def test_every_place_of_any_document_has_a_line(data: dict[str, object]) -> None:
    text = tomlkit.dumps(data)
    lines = line_numbers(text)
    assert set(lines) == places(tomllib.loads(text))
    assert all(1 <= line <= text.count("\n") + 1 for line in lines.values())
