"""A translation differs from its original in its words alone, or says where it does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tutor.lesson import document
from tutor.lesson.model import Fault, Lesson
from tutor.lesson.related_lessons import differences

HERE = Path("/lessons/two.md")
THERE = Path("/lessons/zh/two.md")

ORIGINAL = r"""---
title: Two times
summary: One weight learns to double.
order: 10
modes: [manual, autograd]
parameters: [w]
epochs: {manual: 8, autograd: 9}
watch:
  error: y_pred - 3
builds_on: [one-weight]
---
An introduction.

## Setup
```python manual
w = np.float32(1.0)
```
```python autograd
w = torch.tensor(1.0, requires_grad=True)
```

## Predict
The answer.

$$\hat{y} = 2 \cdot \boxed{w} = \boxed{y_pred}$$

```python
y_pred = w * 2
# as said
y_pred = y_pred + 0
```

## Loss
```python
loss = (y_pred - 3) ** 2
```

## Gradient
```python manual
dw = 4 * (y_pred - 3)
```
```python autograd
loss.backward()
```

## Update
```python
w = w
```

## What to remember
$$w = \boxed{w}$$

```yaml exercise
id: first
kind: predict
mode: autograd
set: {w: 3}
at: 1 gradient
ask: What will it be?
hints: [Think, Think again]
explain: It is so.
answer: gradient["w"]
tolerance: 0.01
wrong:
  - value: 4 * gradient["w"]
    reply: That is the sum.
again:
  - set: {w: 5}
    ask: And now?
    hints: [Five]
    wrong:
      - value: 5 * gradient["w"]
        reply: Not five.
```

```yaml exercise
id: second
kind: predict
at: 1 loss
ask: Which way?
hints: [Think]
explain: It falls.
choices:
  up: It rises
  down: It falls
answer: '"up" if loss > 1 else "down"'
```

```yaml exercise
id: third
kind: choose
ask: Which?
hints: [Think]
explain: Yes.
choices:
  - text: The first
    right: true
  - text: The second
    reply: No.
```
"""

WORDS = {
    "Two times": "两倍",
    "One weight learns to double.": "一个权重。",
    "An introduction.": "引言。",
    "The answer.": "答案。",
    r"\hat{y} = 2": r"\text{答案} = 2",
    "What to remember": "要点",
    "What will it be?": "是多少？",
    "Think, Think again": "想想, 再想想",
    "It is so.": "就是这样。",
    "That is the sum.": "那是和。",
    "And now?": "现在呢？",
    "It rises": "上升",
    "The first": "第一个",
    "reply: No.": "reply: 不。",
}


AGAIN = """again:
  - set: {w: 5}
    ask: 现在呢？
    hints: [Five]
    wrong:
      - value: 5 * gradient["w"]
"""


def lesson(text: str, path: Path) -> Lesson:
    return document.parse(text, path)


def translated(text: str = ORIGINAL) -> str:
    for word, other in WORDS.items():
        assert word in text
        text = text.replace(word, other)
    return text


@pytest.fixture(scope="module")
def original() -> Lesson:
    return lesson(ORIGINAL, HERE)


def test_what_differs_in_words_alone_is_the_same_lesson(original: Lesson) -> None:
    assert differences(original, lesson(translated(), THERE)) == ()


@pytest.mark.parametrize(
    ("was", "becomes", "code", "part", "there"),
    [
        ("order: 10", "order: 11", "differs", ("key", "order"), ":4"),
        ("modes: [manual, autograd]", "modes: [autograd, manual]", "differs", ("key", "modes"), ""),
        ("epochs: {manual: 8, ", "epochs: {manual: 7, ", "differs", ("key", "epochs"), ""),
        ("watch:\n  error: y_pred - 3", "watch:\n  error: y_pred", "differs", ("key", "watch"), ""),
        ("[one-weight]", "[one-weight, xor]", "differs", ("key", "builds_on"), ":10"),
        ("order: 10", "order: 10\nbatches: 2", "is_new", ("key", "batches"), "two.md"),
        ("y_pred = y_pred + 0", "y_pred = y_pred", "differs", ("fence", 1, "Predict"), ":30"),
        ("# as said", "# wie gesagt", "differs", ("fence", 1, "Predict"), ":29"),
        ("```python manual\ndw", "```python manual autograd\ndw",
         "differs", ("fence", 1, "Gradient"), ""),
        (r"\boxed{w} = \boxed{y_pred}", r"\boxed{w} = \boxed{loss}",
         "differs", ("boxed", 2, "Predict"), ""),
        (r"$$w = \boxed{w}$$", r"$$w = \boxed{w} + \boxed{loss}$$",
         "is_new", ("boxed outside", 2, ""), "two.md"),
        ("id: second", "id: zweite", "is_new", ("exercise", "zweite"), "two.md"),
        ("kind: choose\nask: Which?\nhints: [Think]\nexplain: Yes.\nchoices:\n"
         "  - text: 第一个\n    right: true\n  - text: The second\n    reply: 不。\n",
         "kind: autograd\nmode: autograd\nask: Which?\nhints: [Think]\nexplain: Yes.\n",
         "differs", ("field", "kind", "third"), ""),
        ("mode: autograd\n", "mode: manual\n", "differs", ("field", "mode", "first"), ""),
        ("set: {w: 3}", "set: {w: 4}", "differs", ("field", "set", "first"), ""),
        ("at: 1 gradient", "at: 2 gradient", "differs", ("field", "at", "first"), ""),
        ("hints: [想想, 再想想]", "hints: [想想]", "differs", ("number of", "hints", "first"), ""),
        ('answer: gradient["w"]', 'answer: -gradient["w"]',
         "differs", ("field", "answer", "first"), ""),
        ("tolerance: 0.01", "tolerance: 0.1", "differs", ("field", "tolerance", "first"), ""),
        ("tolerance: 0.01", "working: w + 1", "differs", ("field", "working", "first"), ""),
        ("wrong:\n  - value: 4", "wrong:\n  - value: 5",
         "differs", ("field", "wrong", "first"), ""),
        ("again:\n  - set: {w: 5}", "again:\n  - set: {w: 6}",
         "differs", ("field", "again", "first"), ""),
        (AGAIN, AGAIN.replace("[Five]", "[Five, Six]"), "differs", ("field", "again", "first"), ""),
        (AGAIN, AGAIN.replace("value: 5", "value: 6"), "differs", ("field", "again", "first"), ""),
        ("  - set: {w: 5}\n    ask: 现在呢？\n", "  - set: {w: 5}\n",
         "missing", ("field", "again.0.ask", "first"), ""),
        ("  - set: {w: 5}", "  - explain: Five.\n    set: {w: 5}",
         "is_new", ("field", "again.0.explain", "first"), ""),
        ("choices:\n  up: 上升\n  down:", "choices:\n  down: 上升\n  up:",
         "differs", ("field", "choices", "second"), ""),
        ("choices:\n  - text: 第一个\n    right: true\n  - text: The second\n    reply: 不。",
         "choices:\n  - text: 第一个\n    reply: 不。\n  - text: The second\n    right: true",
         "differs", ("field", "choices", "third"), ""),
    ],
)  # fmt: skip
def test_anything_else_is_told_with_the_translations_line(
    original: Lesson, was: str, becomes: str, code: str, part: tuple[object, ...], there: str
) -> None:
    text = translated()
    assert text.count(was) == 1
    changed = text.replace(was, becomes)
    found = differences(original, lesson(changed, THERE))
    (diagnostic,) = (d for d in found if d.fault.values["part"] == part)
    assert diagnostic.fault.code == f"part_{code}"
    assert diagnostic.fault.values["there"].endswith(there)
    first = changed[: changed.index(becomes)].count("\n") + 1
    assert first <= diagnostic.line <= first + becomes.count("\n")
    assert diagnostic.path == THERE


def at(piece: str, more: int = 0) -> str:
    """Where a piece of text stands in the original."""
    return f"{HERE}:{ORIGINAL[: ORIGINAL.index(piece)].count(chr(10)) + 1 + more}"


def without(text: str, start: str, end: str) -> str:
    first = text.index(start)
    return text[:first] + text[text.index(end, first) :]


def test_what_is_missing_is_told(original: Lesson) -> None:
    text = translated()
    fewer = without(text, "```python autograd\nloss.back", "\n## Update")
    fewer = fewer.replace("modes: [manual, autograd]\n", "modes: [manual]\n")
    fewer = fewer.replace("mode: autograd\n", "mode: manual\n")
    fewer = without(fewer, "```python autograd", "\n## Predict").replace(", autograd: 9", "")
    fewer = without(fewer, "## Update", "## 要点")
    fewer = without(fewer, "$$w =", "```yaml exercise\nid: first")
    fewer = without(fewer, "```yaml exercise\nid: second", "```yaml exercise\nid: third")
    found = [diagnostic.fault for diagnostic in differences(original, lesson(fewer, THERE))]
    for part, there in (
        (("phase", "Update"), at("## Update")),
        (("fence", 2, "Setup"), at("w = torch", -1)),
        (("fence", 2, "Gradient"), at("loss.backward()", -1)),
        (("boxed outside", 1, ""), at("$$w")),
        (("exercise", "second"), at("id: second")),
    ):
        assert Fault("part_missing", {"part": part, "there": there}) in found
    assert ("part_differs", ("key", "modes")) in [(f.code, f.values["part"]) for f in found]


def test_exercises_and_phases_in_another_order_are_told(original: Lesson) -> None:
    text = translated()
    first = text[
        text.index("```yaml exercise\nid: first") : text.index("```yaml exercise\nid: sec")
    ]
    update = text[text.index("## Update") : text.index("## 要点")]
    moved = (text.replace(first, "") + "\n" + first).replace(update, "")
    moved = moved.replace("## Gradient", update + "## Gradient")
    found = [diagnostic.fault for diagnostic in differences(original, lesson(moved, THERE))]
    for part, instead in (
        (("phase", "Update"), ("phase", "Gradient")),
        (("exercise", "second"), ("exercise", "first")),
    ):
        values = {"part": part, "there": str(HERE), "instead": instead}
        assert Fault("part_elsewhere", values) in found
    assert not [fault for fault in found if fault.code == "part_missing"]
