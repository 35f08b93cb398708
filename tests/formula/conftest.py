"""Helpers: a drawn formula as one block of text."""

from collections.abc import Callable, Mapping
from textwrap import dedent

import pytest

from tutor.formula import draw, parse

Look = Callable[..., None]


@pytest.fixture
def looks() -> Look:
    """Assert that a formula is drawn exactly as the block of text shows it."""

    def check(
        latex: str,
        expected: str,
        values: Mapping[str, str] | None = None,
        *,
        width: int | None = None,
        ascii: bool = False,
    ) -> None:
        picture = draw(parse(latex), values, width=width, ascii=ascii)
        drawn = "\n".join(row.rstrip() for row in picture.rows)
        assert drawn == dedent(expected).strip("\n")

    return check
