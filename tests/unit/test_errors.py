"""Errors: every class has a kind of its own and an exit code of the design's table."""

from __future__ import annotations

import pytest

from pacha.core import errors
from pacha.core.errors import Busy, Interrupted, NotFound, PachaError, UsageError

CLASSES = [
    value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, PachaError)
]


def test_kinds_are_distinct_but_for_the_base() -> None:
    kinds = [cls.kind for cls in CLASSES if cls is not PachaError]
    assert len(kinds) == len(set(kinds)) == 16


@pytest.mark.parametrize("cls", CLASSES)
def test_each_says_its_sentence_and_is_drawn(cls: type[PachaError]) -> None:
    error = cls("the store is gone", hint="look for it")
    assert (str(error), error.hint) == ("the store is gone", "look for it")
    assert error.exit_code in (1, 2, 5, 130)
    assert f" {cls.__name__} " in (errors.__doc__ or "")
    assert cls("x").hint == ""


def test_exit_codes_are_those_of_the_design() -> None:
    assert UsageError("x").exit_code == NotFound("x").exit_code == 2
    assert Busy("x").exit_code == 5
    assert Interrupted(exit_code=143).exit_code == 143
