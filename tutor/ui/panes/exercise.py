"""The exercise pane: one exercise with its answer field, or the list of the lesson's exercises."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import ClassVar, TypeVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.message import Message
from textual.reactive import var
from textual.widgets import Input, Static

from tutor.lesson.exercise import Exercise
from tutor.progress import ExerciseResult
from tutor.session.attempt import Attempt
from tutor.session.run_view import RunView
from tutor.ui import exercise_lines as lines_of
from tutor.ui.bars import Field
from tutor.ui.commands import EXERCISE_PANE_COMMANDS, bindings
from tutor.ui.exercise_lines import TextPart
from tutor.ui.lines import DIM, LinesPane, Shown, Tab, line
from tutor.ui.prose import inline_formulas

Self = TypeVar("Self", bound="ExercisePane")

LABELS = {True: "▶ Your answer: ", False: "  Your answer: "}
"""The label of the field, by whether it has the focus."""


BRIEF = 6
"""Lines of text that leave the panes above an exercise more room, where that is little."""


class PartsPane(LinesPane):
    """Parts one below the other; the newest stays in view until the learner scrolls.

    A part is new if its text differs from the one before. The newest is brought into view again
    when the room changes: an answer field takes a row of it. Subclasses define `parts`.
    """

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._parts: list[TextPart] = []
        self._rows: dict[str, tuple[int, int]] = {}
        """A part → its first and last line."""
        self._newest: tuple[str, ...] = ()
        """The names of the newest parts, in their order."""
        self._is_settling = False
        self._settled_in = (0, 0)
        """The room in which the newest was brought into view last."""

    def parts(self, width: int) -> Iterable[TextPart]:
        """The parts, `width` columns wide."""
        raise NotImplementedError

    def is_news(self, part: TextPart) -> bool:
        """Whether a part with another text is to be brought into view."""
        return True

    def newest_at_first(self) -> Sequence[str]:
        """Names of the parts to bring into view where nothing has stood before."""
        return ()

    def forget_parts(self) -> None:
        """Forget the parts: another exercise is shown, of which no part is newer than the rest."""
        self._parts, self._newest = [], ()
        self._scroll_down_to(0)

    def build(self, width: int) -> Sequence[Content]:
        """All parts, with an empty line between two unless the first is tight."""
        before = {part.name: part.says for part in self._parts}
        self._parts = list(self.parts(width))
        fresh = (p.name for p in self._parts if p.says != before.get(p.name) and self.is_news(p))
        if newest := tuple(fresh if before else self.newest_at_first()):
            self._newest = newest
        lines: list[Content] = []
        self._rows = {}
        for part in self._parts:
            self._rows[part.name] = (len(lines), len(lines) + len(part.lines) - 1)
            lines.extend(part.lines)
            if not part.is_tight:
                lines.append(line())
        return lines[:-1] if self._parts and not self._parts[-1].is_tight else lines

    def settle(self) -> None:
        """Scroll to the newest part: to its beginning, if not all of it fits."""
        rows = [self._rows[name] for name in self._newest if name in self._rows]
        size = self.scrollable_content_region.size
        self._settled_in = (size.width, size.height)
        if rows:
            first, last = rows[0][0], rows[-1][1]
            self._scroll_down_to(min(max(0, last - size.height + 1), first))

    def rebuild(self) -> None:
        """Build the parts again; scrolling meanwhile is not the learner's."""
        self._is_settling = True
        super().rebuild()
        self._is_settling = False

    def _scroll_down_to(self, y: int) -> None:
        was, self._is_settling = self._is_settling, True
        self.show_from(y)
        self._is_settling = was

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Once the learner has scrolled, it stays there until there is something newer."""
        super().watch_scroll_y(old_value, new_value)
        size = self.scrollable_content_region.size
        if not self._is_settling and self._settled_in == (size.width, size.height):
            self._newest = ()


class ExerciseText(PartsPane):
    """The text of the exercise, in which choices are picked."""

    @dataclass
    class Answered(Message):
        """The learner gives an answer: a number, a sign, or a choice's number from 1."""

        text: str

    class AnsweredNothing(Message):
        """Enter was pressed in an empty field, or before a choice was picked."""

    class WentOn(Message):
        """The learner continues: with the question again, the field, or the next exercise."""

    BINDINGS: ClassVar[list[BindingType]] = [
        *bindings(EXERCISE_PANE_COMMANDS),
        *(Binding(str(i), f"number({i})", show=False) for i in range(2, 10)),
    ]

    attempt: var[Attempt | None] = var(None)
    results: Shown[Mapping[str, ExerciseResult]] = Shown(dict)
    drawn_from = attrgetter("lesson")

    def __init__(self, *, ascii_only: bool, id: str) -> None:
        super().__init__(id=id)
        self._inline = inline_formulas(ascii_only)
        self._picked = -1

    # ── Lines ───────────────────────────────────────────────────────────────────────

    def watch_attempt(self, old: Attempt | None, new: Attempt | None) -> None:
        """Redraw for another exercise, question, reply or hint."""
        if new is None or old is None or (old.exercise.id, old.ask) != (new.exercise.id, new.ask):
            self._picked = -1
        if new is None or old is None or old.exercise.id != new.exercise.id:
            self.forget_parts()
        self.rebuild()

    def parts(self, width: int) -> Iterable[TextPart]:
        """The current exercise, or the list of exercises."""
        if self.attempt is None:
            return [TextPart("list", tuple(self._list(width)))]
        return lines_of.parts(self.attempt, self._picked, width, self._inline)

    def show_lines(self, lines: Sequence[Content]) -> None:
        """A short question takes few rows: the formula that it asks about has the others."""
        super().show_lines(lines)
        if self.parent is not None:
            self.parent.set_class(len(lines) <= BRIEF, "-brief")

    def is_news(self, part: TextPart) -> bool:
        """Whether a part is new: it has other lines, or is the choice that was just picked."""
        if part.name.startswith(lines_of.CHOICE):
            return part.name == f"{lines_of.CHOICE}{self._picked + 1}"
        return part.name not in lines_of.NEVER_NEW

    def _list(self, width: int) -> list[Content]:
        every = _exercises(self.view)
        if not every:
            return [line(("This lesson has no exercises.", DIM))]
        results = self.results
        return [
            lines_of.exercise_row(number, exercise, results.get(exercise.id), width, self._inline)
            for number, exercise in enumerate(every, 1)
        ]

    # ── Keys ────────────────────────────────────────────────────────────────────────

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Arrows and digits pick a choice where there is one to pick; else they are not ours."""
        attempt = self.attempt
        if action == "choice":
            return lines_of.asks_to_choose(attempt)
        if action == "number":
            number = parameters[0] if parameters else 0
            is_one = isinstance(number, int) and attempt and number <= len(attempt.choices)
            return bool(is_one) and lines_of.asks_to_choose(attempt)
        return True

    def action_choice(self, by: int) -> None:
        """Pick the choice above or below."""
        count = len(self.attempt.choices) if self.attempt else 0
        if self._picked < 0:
            self._pick(0 if by > 0 else count - 1)
        else:
            self._pick(min(max(0, self._picked + by), count - 1))

    def action_number(self, number: int) -> None:
        """Pick the choice with this number."""
        self._pick(number - 1)

    def _pick(self, index: int) -> None:
        self._picked = index
        self.rebuild()

    def action_enter(self) -> None:
        """Answer with the picked choice, or go on."""
        if lines_of.asks_to_choose(self.attempt):
            has_picked = self._picked >= 0
            answer = self.Answered(str(self._picked + 1)) if has_picked else self.AnsweredNothing()
            self.post_message(answer)
        elif self.attempt is not None:
            self.post_message(self.WentOn())


class ExerciseKeyLine(LinesPane, can_focus=False):
    """The keys that work now."""

    drawn_from = attrgetter("lesson")
    attempt: Shown[Attempt | None] = Shown(None)
    results: Shown[Mapping[str, ExerciseResult]] = Shown(dict)
    is_typing: Shown[bool] = Shown(False)

    def build(self, width: int) -> Sequence[Content]:
        """One line."""
        if self.attempt is None and not _exercises(self.view):
            return []
        every = _exercises(self.view)
        return [lines_of.keys_line(self.attempt, self.is_typing, width, every, self.results)]


class ExercisePane(Vertical):
    """Text that scrolls, with the field (only when needed) and the keys below it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "scroll_text(-1)", show=False),
        Binding("down", "scroll_text(1)", show=False),
        Binding("pageup", "page_text(-1)", show=False),
        Binding("pagedown", "page_text(1)", show=False),
    ]
    """The text scrolls while the field has the focus, too."""

    @dataclass
    class TypingChanged(Message):
        """The field has gained or lost the focus: letters are text, or keys."""

        is_typing: bool

    @dataclass
    class Typed(Message):
        """The text of the field has changed."""

        text: str

    attempt: var[Attempt | None] = var(None)
    results: var[Mapping[str, ExerciseResult]] = var(dict)
    view: var[RunView | None] = var(None)
    tabs: var[tuple[Tab, ...]] = var(())

    def __init__(self, *, ascii_only: bool, id: str) -> None:
        super().__init__(id=id)
        self._ascii = ascii_only
        self._returns = False
        """Whether the field, when it is wanted again, has the focus again."""

    def compose(self) -> ComposeResult:
        """The parts, bound to this pane's attributes."""
        pane = ExercisePane
        text = ExerciseText(ascii_only=self._ascii, id="exercise-text")
        yield text.data_bind(pane.attempt, pane.results, pane.view, pane.tabs)
        with Horizontal(id="exercise-field"):
            yield Static(LABELS[False], id="exercise-label", markup=False)
            yield Field(id="exercise-answer", compact=True, select_on_focus=False)
        keys = ExerciseKeyLine(id="exercise-keys")
        yield keys.data_bind(pane.attempt, pane.view, pane.results)

    def on_mount(self) -> None:
        """Hide the field if no answer is typed."""
        self._field.display = lines_of.asks_to_type(self.attempt)

    @property
    def _input(self) -> Input:
        return self.query_one("#exercise-answer", Input)

    @property
    def _field(self) -> Horizontal:
        return self.query_one("#exercise-field", Horizontal)

    @property
    def is_typing(self) -> bool:
        """Whether the field has the focus."""
        return self.screen.focused is self._input  # the field itself hears of that later

    @property
    def has_focus_within_it(self) -> bool:
        """Whether the text or the field has the focus."""
        return self.screen.focused in (self._input, self.query_one(ExerciseText))

    def focus(self: Self, scroll_visible: bool = True) -> Self:
        """Focus the field if it is shown, else the text."""
        target = self._input if self._field.display else self.query_one(ExerciseText)
        # At once: whether the focus is here may be asked in the very next moment.
        self.screen.set_focus(target, scroll_visible)
        return self

    def leave_field(self) -> None:
        """Focus the text, so that letters are keys again."""
        self.screen.set_focus(self.query_one(ExerciseText))

    def watch_attempt(self, old: Attempt | None, new: Attempt | None) -> None:
        """The field comes and goes; a new question finds it empty, or as it was left."""
        if not self.is_mounted:
            return
        if old is None or new is None or _asked(old) != _asked(new):
            self._input.value = new.typed if new else ""
            self._input.cursor_position = len(self._input.value)
        elif new.reply and new.reply != old.reply:
            self._input.action_select_all()  # an unreadable answer gives way to the next key
        wanted, field = lines_of.asks_to_type(new), self._field
        if new is not None and new.state == "opening":
            self._returns = True
        if field.display and not wanted and self.is_typing:
            self._returns = True
            self.screen.set_focus(self.query_one(ExerciseText))
        comes_back = wanted and not field.display
        field.display = wanted
        if comes_back and self._returns and self.has_focus_within_it:
            self.screen.set_focus(self._input)
        self._returns = self._returns and not wanted

    def action_scroll_text(self, by: int) -> None:
        """Scroll by lines."""
        text = self.query_one(ExerciseText)
        text.scroll_to(y=text.scroll_offset.y + by, animate=False, immediate=True)

    def action_page_text(self, by: int) -> None:
        """Scroll by pages."""
        self.action_scroll_text(by * self.query_one(ExerciseText).size.height)

    def on_descendant_focus(self) -> None:
        """Update the label when the focus arrives."""
        self._tell_typing()

    def on_descendant_blur(self) -> None:
        """Update the label, as on focus."""
        self._tell_typing()

    def _tell_typing(self) -> None:
        self.query_one("#exercise-label", Static).update(LABELS[self.is_typing])
        keys = self.query_one(ExerciseKeyLine)
        if keys.is_typing != self.is_typing:
            keys.is_typing = self.is_typing
            self.post_message(self.TypingChanged(self.is_typing))

    def on_input_changed(self, event: Input.Changed) -> None:
        """Post the typed text, so that it is saved."""
        event.stop()
        self.post_message(self.Typed(event.value))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Hand the answer on; for an empty field say that there is none."""
        event.stop()
        if answer := event.value.strip():
            self.post_message(ExerciseText.Answered(answer))
        else:
            self.post_message(ExerciseText.AnsweredNothing())


def _exercises(view: RunView | None) -> tuple[Exercise, ...]:
    return view.lesson.exercises if view else ()


def _asked(attempt: Attempt) -> tuple[object, ...]:
    """The question and its state: an answer in the field is stale once they change."""
    return (attempt.exercise.id, attempt.ask, attempt.question_number, attempt.tries)
