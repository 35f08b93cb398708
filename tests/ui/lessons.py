"""A small lesson built by hand, so that these tests need no parser."""

from __future__ import annotations

from pathlib import Path

from tutor.lesson.library import Headline
from tutor.lesson.model import Block, DisplayFormula, Fault, Fence, Lesson, Prose, Section

MEAN_SQUARED_ERROR = r"L = \frac{1}{N}\sum_{i=1}^{N} (\hat{y}_i - y_i)^2 = \boxed{loss}"
MODES = ("manual", "autograd")


def section(phase: str, line: int, *blocks: Block) -> Section:
    return Section(phase, line, phase or None, blocks)


def lesson(slug: str = "line", title: str = "A line through the origin") -> Lesson:
    source = f"# {title}\nprose with [bold]brackets[/bold] and an escape \x1b[31m\n"
    return Lesson(
        slug=slug,
        path=Path(f"/lessons/{slug}.md"),
        digest="0123456789abcdef" * 4,
        source=source,
        title=title,
        summary="One weight learns y = 2x.",
        order=1,
        modes=MODES,
        parameters=dict.fromkeys(MODES, ("w",)),
        learning_rate=dict.fromkeys(MODES, 0.01),
        epochs=dict.fromkeys(MODES, 20),
        sections=(
            section("", 1, Prose("One weight learns **y = 2x** from four points.", 1)),
            section(
                "Setup",
                5,
                Fence("x = np.array([1, 2, 3, 4])\nw = np.float32(0.0)\n", 6, ("manual",)),
                Fence("x = torch.tensor([1, 2, 3, 4])\n", 10, ("autograd",)),
            ),
            section(
                "Predict",
                15,
                Prose("The model multiplies by `w`, see [bold]here[/bold].", 16),
                DisplayFormula(r"\hat{y}_i = w x_i", 17),
                DisplayFormula(r"\hat{y}_4 = \boxed{w} \cdot \boxed{x[3]}", 18, ("w", "x[3]")),
                Fence("y_pred = w * x\n", 20),
            ),
            section(
                "Loss",
                25,
                DisplayFormula(
                    MEAN_SQUARED_ERROR,
                    26,
                    ("loss",),
                ),
                Fence("# how far off\nloss = ((y_pred - y) ** 2).mean()\n", 30),
            ),
            section(
                "Gradient",
                35,
                Fence("dw = (2 * x * (y_pred - y)).mean()\n", 36, ("manual",)),
                Fence("loss.backward()\n", 40, ("autograd",)),
            ),
            section("Update", 45, Fence("w -= learning_rate * dw\n", 46)),
            section("Reset", 50, Fence("w.grad = None\n", 51, ("autograd",))),
            Section("What to remember", 55, None, (Prose("- small steps\n- no rest", 56),)),
        ),
    )


def headline(slug: str, title: str, fault: Fault | None = None) -> Headline:
    path = Path(f"/lessons/{slug}.md")
    return Headline(slug, path, title, "One weight learns y = 2x.", 1, MODES, True, fault)


HEADLINES = (
    headline("line", "A line through the origin"),
    headline("xor", "XOR with a hidden layer"),
    headline("far", "From far away"),
    headline(
        "bad", "bad", Fault("no_phase", {"path": "/lessons/bad.md", "line": 3, "phase": "Loss"})
    ),
)
