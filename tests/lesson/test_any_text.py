"""Any text at all is either a lesson or a list of faults; nothing crashes."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tutor.lesson.document import parse
from tutor.lesson.model import LessonDiagnostics
from tutor.plain import one_line
from tutor.wording.notices import error_text

HERE = Path(__file__).parent
VALID = [(HERE / name).read_text("utf-8") for name in ("line.md", "exercises.md")]
BROKEN = [p.read_bytes().decode() for p in sorted((HERE.parent / "broken_lessons").glob("*.md"))]

SNIPPETS = st.sampled_from(
    [
        *("---\n", "```", "```python\n", "~~~\n", "$$", "$", "\\boxed{", "}", "{", "\\", "&"),
        *("\t", "\0", "\r", "\x0b", "\x0c", "\x1b[31m", "\u2028", "\ufeff", "\ud800", "é", "中"),
        *("> ", "- ", "1. ", "## Predict\n", "# ", "    ", "===\n", "|a|\n|-|\n", "<!--", "\n\n"),
        *("[", "]", ": ", "&a ", "*a", "!!int ", "? ", "%", "'", '"', "<<: ", "...\n", "|\n"),
        *("```yaml exercise\n", "  - ", "id: first\n", "at: 0 loss 9\n", "kind: choose\n"),
        *("(", "def f(:\n", "if 1:\n", "return", "await x", "\\\n", "1" * 5000, "(" * 300, "0x"),
    ]
)


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """A lesson, right or broken, with some stretches cut out, doubled or overwritten."""
    text = draw(st.sampled_from([*VALID, *VALID, *BROKEN]))
    for _ in range(draw(st.integers(1, 5))):
        start = draw(st.integers(0, len(text)))
        end = start + draw(st.integers(0, 40))
        new = draw(
            st.one_of(st.just(""), SNIPPETS, st.text(max_size=10), st.just(text[start:end] * 2))
        )
        text = text[:start] + new + text[end:]
    return text


def outcome(text: str) -> LessonDiagnostics | None:
    try:
        lesson = parse(text, Path("any.md"))
    except LessonDiagnostics as diagnostics:
        return diagnostics
    assert lesson.modes
    assert lesson.phase("Predict")
    return None


@settings(max_examples=150, deadline=None)
@given(mutated())
def test_a_mutated_lesson_is_a_lesson_or_faults_on_lines_that_exist(text: str) -> None:
    diagnostics = outcome(text)
    if diagnostics is not None:
        last = text.replace("\r\n", "\n").replace("\r", "\n").count("\n") + 1
        lines = [diagnostic.line for diagnostic in diagnostics.diagnostics]
        assert lines
        assert all(1 <= line <= last for line in lines)
        assert all(a <= b for a, b in pairwise(lines))
        assert all(told == one_line(told) for told in error_text(diagnostics).split("\n"))


@settings(max_examples=50, deadline=None)
@given(st.text())
def test_any_text_at_all_is_refused_in_order(text: str) -> None:
    assert outcome(text) is not None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "---",
        "---\n---",
        "---\n" + "[" * 200_000 + "\n---\n",
        "---\na: &a [*a]\ntitle: *a\n---\n",
        "---\nparameters: &a [*a]\nwatch: &b {x: *b}\n---\n",
        "---\n? [a]\n: b\n---\n",
        "---\n!!python/object:os.system {}\n---\n",
        "---\ntitle: !!int x\norder: !!timestamp 2020-13-45\n---\n",
        "---\n---\n" + "> " * 5_000 + "x",
        "---\n---\n" + "- " * 5_000 + "x",
        "---\n---\n" + "$" * 10_001,
        "---\n---\n" + "$$\n" * 2_001,
        "---\n---\n" + "[" * 10_000,
        "---\n---\n## Predict\n```python\n" + "(" * 5_000 + "\n```\n",
        "---\n---\n## Predict\n```python\n" + "-" * 50_000 + "1\n```\n",
        "---\n---\n## Predict\n```python\n" + "x = " + "1" * 5_000 + "\n```\n",
    ],
    ids=lambda text: repr(text[:40]),
)
def test_text_made_to_break_a_parser_does_not(text: str) -> None:
    assert outcome(text) is not None
