"""The benchmark judges figures as the budgets say; what it measures is no test's business."""

import math
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest

BENCH = Path(__file__).resolve().parents[2] / "bench"
MODULES = ("figures", "processes", "report", "timing")


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> dict[str, ModuleType]:
    for name in MODULES:
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(BENCH)
    return {name: __import__(name) for name in MODULES}


def rows(bench: dict[str, ModuleType], figures: object) -> dict[str, tuple[str, ...]]:
    """The rows of the table of budgets, by the budget's text."""
    return {row[0]: tuple(row[1:]) for row in bench["report"].budget_table(figures)[1]}


def test_a_limit_holds_for_median_and_95th_percentile(bench: dict[str, ModuleType]) -> None:
    figures = bench["figures"].Figures()
    task = bench["figures"].latency(2_000)
    for value in (*[120.0] * 40, *[460.0] * 10):
        figures.add(task, "pacha", value)
        figures.add(task, "inotifywait + git", value / 2)
    found = rows(bench, figures)
    assert found["a write to its revision, 2,000 files, median"] == (
        "≤ 200 ms",
        "120.0 ms",
        "met (inotifywait + git: 60.0 ms)",
    )
    assert found["a write to its revision, 2,000 files, 95th percentile"] == (
        "≤ 450 ms",
        "460.0 ms",
        "NOT met (inotifywait + git: 230.0 ms)",
    )
    assert found["a write to its revision, 100,000 files, median"] == ("≤ 200 ms", "–", "not asked for")


def test_a_limit_is_reached_and_not_exceeded(bench: dict[str, ModuleType]) -> None:
    figures = bench["figures"].Figures()
    figures.add(bench["figures"].idle_switches(2_000), "pacha", 0)
    figures.add(bench["figures"].idle_switches(12_000), "pacha", 1)
    figures.add(bench["figures"].idle_memory(2_000), "pacha", 20.0)
    found = rows(bench, figures)
    assert found["idle agent, context switches in 10 s, 2,000 files"] == ("≤ 0", "0", "met")
    assert found["idle agent, context switches in 10 s, 12,000 files"] == ("≤ 0", "1", "NOT met")
    assert found["idle agent, memory, 2,000 files"] == ("≤ 20 MB", "20.00 MB", "met")


def test_what_failed_is_named_with_its_reason(bench: dict[str, ModuleType]) -> None:
    figures = bench["figures"].Figures()
    figures.fail(bench["figures"].latency(2_000), "pacha", "pacha agent does not run")
    row = rows(bench, figures)["a write to its revision, 2,000 files, median"]
    assert row == ("≤ 200 ms", "–", "not measured: pacha agent does not run")


def test_a_ratio_compares_medians(bench: dict[str, ModuleType]) -> None:
    figures = bench["figures"].Figures()
    for value in (2.0, 3.0, 90.0):
        figures.add(bench["figures"].NO_CHANGE, "pacha", value)
        figures.add(bench["figures"].NO_CHANGE, "restic", 2 * value)
    assert rows(bench, figures)["nothing changed, 2,000 files : restic"] == ("≤ 1", "0.50", "met")


@pytest.mark.parametrize(("count", "expected"), [(1, 1), (20, 19), (50, 48), (100, 95)])
def test_a_95th_percentile(bench: dict[str, ModuleType], count: int, expected: int) -> None:
    series = bench["timing"].Series([float(value) for value in range(count, 0, -1)])
    assert math.isclose(series.p95, expected)


def test_the_page_is_made_of_nothing_too(bench: dict[str, ModuleType]) -> None:
    page = bench["report"].page(bench["figures"].Figures(), "a machine", {}, "quick", 200, 50)
    assert "$" not in page
    assert "This was a quick run" in page


def test_memory_is_that_of_a_session(bench: dict[str, ModuleType], tmp_path: Path) -> None:
    command = bench["timing"].Command(("/bin/sh", "-c", "sleep 60 & wait"), tmp_path, {})
    with bench["timing"].beside(command, tmp_path / "said") as process:
        used = bench["processes"].memory(process.pid)
        assert 0 < used.proportional <= used.resident
    assert process.returncode is not None
    deadline = time.monotonic() + 10
    while bench["processes"].memory(process.pid).resident and time.monotonic() < deadline:
        time.sleep(0.02)  # a killed process takes a moment to be gone
    assert bench["processes"].memory(process.pid).resident == 0
