"""Every transcript in the documentation is what happens when it is typed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.pages import DOCS, REPOSITORY, check_page, console_blocks

PAGES = [
    page
    for page in [REPOSITORY / "README.md", *sorted(DOCS.rglob("*.md"))]
    if console_blocks(page.read_text())
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_a_page_shows_what_happens(page: Path, tmp_path: Path) -> None:
    faults = check_page(page, tmp_path)
    assert not faults, "\n\n".join(faults)
