"""A translation differs from its original in its words alone, or says where it does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tutor.lesson import document
from tutor.lesson.model import Lesson
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
    ("was", "becomes", "told"),
    [
        ("order: 10", "order: 11", "`order` is not as in /lessons/two.md:4"),
        ("modes: [manual, autograd]", "modes: [autograd, manual]", "`modes` is not as in"),
        ("epochs: {manual: 8, ", "epochs: {manual: 7, ", "`epochs` is not as in"),
        ("watch:\n  error: y_pred - 3", "watch:\n  error: y_pred", "`watch` is not as in"),
        ("[one-weight]", "[one-weight, xor]", "`builds_on` is not as in /lessons/two.md:10"),
        ("order: 10", "order: 10\nbatches: 2", "`batches` is not in /lessons/two.md"),
        ("y_pred = y_pred + 0", "y_pred = y_pred", "Predict is not as in /lessons/two.md:30"),
        ("# as said", "# wie gesagt", "fence 1 of Predict is not as in /lessons/two.md:29"),
        ("```python manual\ndw", "```python manual autograd\ndw", "fence 1 of Gradient"),
        (r"\boxed{w} = \boxed{y_pred}", r"\boxed{w} = \boxed{loss}", r"\boxed 2 of Predict"),
        (r"$$w = \boxed{w}$$", r"$$w = \boxed{w} + \boxed{loss}$$", r"\boxed 2 outside"),
        ("id: second", "id: zweite", "the exercise `zweite` is not in /lessons/two.md"),
        ("kind: choose\nask: Which?\nhints: [Think]\nexplain: Yes.\nchoices:\n"
         "  - text: 第一个\n    right: true\n  - text: The second\n    reply: 不。\n",
         "kind: autograd\nmode: autograd\nask: Which?\nhints: [Think]\nexplain: Yes.\n",
         "`kind` of `third` is not as in /lessons/two.md"),
        ("mode: autograd\n", "mode: manual\n", "`mode` of `first` is not as in"),
        ("set: {w: 3}", "set: {w: 4}", "`set` of `first` is not as in"),
        ("at: 1 gradient", "at: 2 gradient", "`at` of `first` is not as in"),
        ("hints: [想想, 再想想]", "hints: [想想]", "the number of `hints` of `first` is not as in"),
        ('answer: gradient["w"]', 'answer: -gradient["w"]', "`answer` of `first` is not as in"),
        ("tolerance: 0.01", "tolerance: 0.1", "`tolerance` of `first` is not as in"),
        ("tolerance: 0.01", "working: w + 1", "`working` of `first` is not as in"),
        ("wrong:\n  - value: 4", "wrong:\n  - value: 5", "`wrong` of `first` is not as in"),
        ("again:\n  - set: {w: 5}", "again:\n  - set: {w: 6}", "`again` of `first` is not as in"),
        (AGAIN, AGAIN.replace("[Five]", "[Five, Six]"), "`again` of `first` is not as in"),
        (AGAIN, AGAIN.replace("value: 5", "value: 6"), "`again` of `first` is not as in"),
        ("  - set: {w: 5}\n    ask: 现在呢？\n", "  - set: {w: 5}\n", "`again.0.ask` of `first`"),
        ("  - set: {w: 5}", "  - explain: Five.\n    set: {w: 5}", "`again.0.explain` of `first`"),
        ("choices:\n  up: 上升\n  down:", "choices:\n  down: 上升\n  up:", "`choices` of `second`"),
        ("choices:\n  - text: 第一个\n    right: true\n  - text: The second\n    reply: 不。",
         "choices:\n  - text: 第一个\n    reply: 不。\n  - text: The second\n    right: true",
         "`choices` of `third` is not as in"),
    ],
)  # fmt: skip
def test_anything_else_is_told_with_the_translations_line(
    original: Lesson, was: str, becomes: str, told: str
) -> None:
    text = translated()
    assert text.count(was) == 1
    changed = text.replace(was, becomes)
    found = differences(original, lesson(changed, THERE))
    diagnostic = next(diagnostic for diagnostic in found if told in diagnostic.message)
    first = changed[: changed.index(becomes)].count("\n") + 1
    assert first <= diagnostic.line <= first + becomes.count("\n")
    assert str(diagnostic).startswith(f"{THERE}:{diagnostic.line}: ")


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
    found = "\n".join(map(str, differences(original, lesson(fewer, THERE))))
    for told in (
        f"the phase Update is missing; copy it from {at('## Update')} ",
        f"fence 2 of Setup is missing; copy it from {at('w = torch', -1)} ",
        f"fence 2 of Gradient is missing; copy it from {at('loss.backward()', -1)} ",
        f"\\boxed 1 outside the phases is missing; copy it from {at('$$w')} ",
        f"the exercise `second` is missing; copy it from {at('id: second')} ",
        "`modes` is not as in",
    ):
        assert told in found


def test_exercises_and_phases_in_another_order_are_told(original: Lesson) -> None:
    text = translated()
    first = text[
        text.index("```yaml exercise\nid: first") : text.index("```yaml exercise\nid: sec")
    ]
    update = text[text.index("## Update") : text.index("## 要点")]
    moved = (text.replace(first, "") + "\n" + first).replace(update, "")
    moved = moved.replace("## Gradient", update + "## Gradient")
    found = "\n".join(map(str, differences(original, lesson(moved, THERE))))
    assert "the phase Update stands where /lessons/two.md has the phase Gradient" in found
    assert "the exercise `second` stands where /lessons/two.md has the exercise `first`" in found
    assert "missing" not in found
