"""Every adapter has what its protocol in `ops/ports` asks for: each method with the same words, each value."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any, Protocol

import pytest
from tests.contract.implementations import IMPLEMENTATIONS

from pacha.ops import ports

ROOT = Path(__file__).resolve().parents[2]
PAIRS = [pytest.param(port, made, id=f"{made.__module__}.{made.__name__}") for port, made in IMPLEMENTATIONS]


def members(port: type) -> dict[str, Any]:
    """What a protocol and those it is made of ask for: methods, properties and annotated values."""
    found: dict[str, Any] = {}
    for part in reversed(port.__mro__):
        if part is not object and getattr(part, "_is_protocol", False) and part is not Protocol:
            found |= dict.fromkeys(inspect.get_annotations(part))
            found |= {
                name: value
                for name, value in vars(part).items()
                if (not name.startswith("_") or name in ("__enter__", "__exit__")) and name != "register"
            }
    return found


def protocols() -> set[type]:
    """The protocols that `ops/ports` defines for adapters."""
    return {
        value for name, value in vars(ports).items()
        if inspect.isclass(value) and value.__module__ == ports.__name__ and not name.startswith("_")
    }  # fmt: skip


def parameters(function: Any) -> list[tuple[str, Any, Any]]:
    return [(p.name, p.kind, p.default) for p in inspect.signature(function).parameters.values()]


def has(made: type, name: str) -> bool:
    """Whether objects of a class have the value: in the class, annotated, or set by its constructor."""
    if hasattr(made, name) or any(name in inspect.get_annotations(part) for part in made.__mro__):
        return True
    return f"self.{name}" in inspect.getsource(made.__init__)  # type: ignore[misc]


def test_every_protocol_has_an_implementation() -> None:
    assert protocols() == {port for port, _ in IMPLEMENTATIONS}


@pytest.mark.parametrize(("port", "made"), PAIRS)
def test_methods_take_the_same_parameters(port: type, made: type) -> None:
    asked = {name: value for name, value in members(port).items() if inspect.isfunction(value)}
    assert asked or port is ports.HookResult
    for name, value in asked.items():
        assert inspect.isfunction(getattr(made, name, None)), f"{made.__name__} has no method {name}"
        assert parameters(getattr(made, name)) == parameters(value), f"{made.__name__}.{name}"


@pytest.mark.parametrize(("port", "made"), PAIRS)
def test_values_and_properties_are_there(port: type, made: type) -> None:
    for name, value in members(port).items():
        if not inspect.isfunction(value):
            assert has(made, name), f"{made.__name__} has no {name}"
            assert not inspect.isfunction(getattr(made, name, None)), f"{made.__name__}.{name} is a method"


@pytest.mark.parametrize(("port", "made"), PAIRS)
def test_an_implementation_is_no_subclass_of_its_protocol(port: type, made: type) -> None:
    assert port not in made.__mro__


def test_the_check_itself_finds_what_is_missing() -> None:
    class Short:
        path = b""

        def __init__(self) -> None:
            self.names = []

    class Renamed:
        def put(self, content: bytes) -> None: ...

    assert not has(Short, "stat")
    assert has(Short, "names")
    assert not has(Short, "stat")
    assert members(ports.Directory).keys() >= {"path", "stat", "names", "read", "__enter__", "__exit__"}
    assert parameters(Renamed.put) != parameters(members(ports.Spool)["put"])


def test_the_type_checker_agrees(tmp_path: Path) -> None:
    """Assign an object of each class to a variable of its protocol: return types are compared here alone."""
    lines = ["from pacha.ops import ports"]
    for at, (port, made) in enumerate(IMPLEMENTATIONS):
        lines += [f"from {made.__module__} import {made.__name__} as Made{at}", f"def f{at}(made: Made{at}) -> ports.{port.__name__}:", "    return made"]  # fmt: skip
    script = tmp_path / "agrees.py"
    script.write_text("\n".join([*lines, ""]))
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--no-error-summary",
        "--config-file",
        str(ROOT / "pyproject.toml"),
        str(script),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
