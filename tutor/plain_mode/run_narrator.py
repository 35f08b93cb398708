"""Tells the result of a command: the position of the run, what changed, and the next phase.

It remembers what it has told: prose and code are told once.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal, TypeAlias

from tutor.lesson.model import SETUP, Lesson, Section
from tutor.plain_mode import exercise_text, spoken_lesson
from tutor.plain_mode.spoken_lesson import is_known, spoken_number, spoken_value, where
from tutor.plain_mode.spoken_text import Line, LineWriter, SpokenCode, sentence
from tutor.protocol.events import LessonFailed
from tutor.protocol.frame import NONE, Frame, RankFigures, Value
from tutor.session.attempt import Attempt
from tutor.session.run_view import Notice, RunView
from tutor.session.session import Session
from tutor.wording.number_format import is_single

CommandKind: TypeAlias = Literal[
    "phase", "epochs", "jump", "change", "notice",
    "exercise", "begin", "answer", "edit", "solution",
]  # fmt: skip
"""The kind of a command: it runs a phase or epochs, moves to another position, changes a setting,
or only has a notice; or it is about an exercise: begins it, answers it, writes its code
or shows its solution."""
_OF_EXERCISES = ("exercise", "begin", "edit", "solution")
"""Kinds that move the run only where an exercise begins or its code is checked."""

MOST_TOLD = 12
"""Changes of one kind that are told after a step."""

MOST_PRINTED = 20
"""Lines of a lesson's output that are spoken at once."""


class RunNarrator:
    """The narration of one session, which knows what has been told and what is new."""

    def __init__(self, session: Session, writer: LineWriter) -> None:
        self._session = session
        self._writer = writer
        self._reset()

    def _reset(self) -> None:
        self._frame: Frame | None = None
        self._attempt: Attempt | None = None
        self._failed: LessonFailed | None = None
        self._printed = 0
        self._diverged_at: int | None = None
        self._spoken: set[tuple[int, str]] = set()
        """The told parts of sections: the section's line, and the part or the code."""
        self._has_offered_reading = False

    # ── A lesson begins ─────────────────────────────────────────────────────────────────

    def introduce(self, view: RunView) -> None:
        """Tell the title, the introduction and Setup, before anything has run."""
        self._reset()
        lesson, mode = view.lesson, view.mode
        if lesson.script is not None:
            self._writer.apart(spoken_lesson.script_introduction(lesson, mode, view.device))
            return
        rate = self._session.learning_rate or lesson.learning_rate[mode]
        self._writer.apart(spoken_lesson.introduction(lesson, mode, view.device, rate))
        self._writer.apart(self._before(lesson, SETUP, mode))

    def begin(self) -> None:
        """Tell the result of Setup, the next phase, and the session's notice."""
        view, notice = self._session.view, self._session.notice
        is_standing = view is not None and view.frame is not None
        if is_standing:
            self._session.notice = Notice()
        self._tell_output_and_notice()
        if view is not None and view.frame is not None:
            self._frame = view.frame
            if not view.frame.at.step:
                self._writer.say(*self._after(view, SETUP))
            self._tell_next(view)
            self._writer.say("Type next for the next phase, epoch for an epoch, help for the rest.")
            self._tell_notice(notice)

    # ── After a command ─────────────────────────────────────────────────────────────────

    def tell(self, kind: CommandKind) -> None:
        """Tell all that is new."""
        view, attempt = self._session.view, self._session.attempt
        was_on = self._attempt is not None
        rows = self._writer.rows
        self._tell_output_and_notice(kind)
        if view is None:
            return
        if attempt is not None:
            self._tell_exercise(view, kind, attempt)
        elif was_on:
            self._writer.apart(["Back in the lesson.", *self._progress(view)])
        elif kind == "jump" and view.frame == self._frame and self._writer.rows == rows:
            self._writer.apart(self._progress(view))  # the run was at its start already
        else:
            self._tell_run(view, kind)
        self._attempt, self._frame = attempt, view.frame

    def _tell_exercise(self, view: RunView, kind: CommandKind, attempt: Attempt) -> None:
        """Tell the change in the exercise's run, then the reply."""
        frame, has_moved = view.frame, view.frame != self._frame
        was = None if kind == "begin" else self._attempt
        is_same = was is not None and was.exercise.id == attempt.exercise.id
        if kind not in _OF_EXERCISES and is_same:  # else the exercise's text tells the position
            self._tell_run(view, kind, attempt)
        is_foreign = spoken_lesson.has_symbols(view.lesson)
        self._writer.apart(
            exercise_text.news(attempt, was, self._progress(view), kind=kind, in_symbols=is_foreign)
        )
        at_end = frame is not None and frame.is_epoch_end
        if has_moved and at_end and kind in ("phase", "epochs", "jump"):
            self._writer.say(*exercise_text.still_to_do(attempt))

    def _tell_output_and_notice(self, kind: CommandKind = "notice") -> None:
        """Tell the lesson's output, its errors, and the session's notice."""
        view, notice = self._session.view, self._session.notice
        self._tell_printed()
        failed = view.failed if view else None
        attempt = self._session.attempt
        is_judged = attempt is not None and attempt.reply is not None and kind in _OF_EXERCISES
        if failed is not None and failed != self._failed and not is_judged:
            self._writer.say(
                exercise_text.failure(failed, attempt, self._session.controller.lesson)
            )
            is_repair = attempt is not None and attempt.wants.is_edited
            self._writer.say(f"Type {'edit to fix it' if is_repair else 'restart to start again'}.")
        elif not (failed and is_judged):  # else the reply tells it
            self._tell_notice(notice)
        self._failed = failed
        self._session.notice = Notice()
        if view is not None and view.diverged_at != self._diverged_at:
            self._diverged_at = view.diverged_at
            if self._diverged_at is not None:
                since = f"from epoch {self._diverged_at} on"
                self._writer.say(f"The loss is not finite {since}.")

    def _tell_notice(self, notice: Notice) -> None:
        if notice.code:
            self._writer.say(exercise_text.spoken_notice(notice))

    def nothing_new(self) -> None:
        """Answer a command that changed nothing: tell the position of the run."""
        view, attempt = self._session.view, self._session.attempt
        if view is None or view.frame is None:
            self._writer.say("Nothing has changed.")
            return
        self._writer.say(f"Nothing has changed. {where(view.lesson, view.frame)}")
        if attempt is not None and attempt.state == "asking":
            self._writer.say(
                exercise_text.question(attempt, spoken_lesson.has_symbols(view.lesson))
            )

    def _tell_printed(self) -> None:
        printed = self._session.output.all
        count = len(printed.shown)
        new = printed.shown[self._printed :] if count >= self._printed else printed.shown
        self._printed = count
        if len(new) > MOST_PRINTED:
            self._writer.say(f"There are {len(new)} printed lines; these are the last.")
        self._writer.say(*spoken_printed(new[-MOST_PRINTED:]))

    def _tell_run(self, view: RunView, kind: CommandKind, attempt: Attempt | None = None) -> None:
        frame, was = view.frame, self._frame
        if frame is None or was is None or frame == was or kind == "notice":
            return
        match kind:
            case "phase" | "answer" if frame.at != was.at:
                self._writer.apart(self._what_ran(view, frame, was, with_words=attempt is None))
            case "epochs":
                self._writer.apart([*self._where_it_ended(view, frame), *changes(frame, was)])
            case "change":
                self._writer.apart(changes(frame, was))
                if (frame.mode, frame.device) == (was.mode, was.device):
                    return
                self._writer.say(f"The gradient mode is {frame.mode}, on {frame.device}.")
            case _:
                self._writer.apart(self._progress(view))
                return
        if attempt is None:
            self._tell_next(view)

    def _what_ran(
        self, view: RunView, frame: Frame, was: Frame, *, with_words: bool
    ) -> Iterator[Line]:
        phase = frame.phase or SETUP
        said = list(self._after(view, phase, with_words=with_words))
        shown = frame.boxed.get(phase, {}) if any(said) else {}
        yield f"{phase} has run, in epoch {frame.at.epoch}{spoken_lesson.batch_words(frame)}."
        yield from changes(frame, was, shown)
        yield from said

    def _progress(self, view: RunView) -> list[Line]:
        frame = view.frame
        return [] if frame is None else [where(view.lesson, frame), *all_values(frame)]

    @staticmethod
    def _where_it_ended(view: RunView, frame: Frame) -> Iterator[Line]:
        if frame.is_epoch_end:
            yield f"Epoch {frame.at.epoch} is done."
        else:
            yield where(view.lesson, frame)

    # ── Sections ────────────────────────────────────────────────────────────────────────

    def _tell_next(self, view: RunView) -> None:
        """Tell the next phase: all of its text the first time, later its name."""
        frame = view.frame
        if frame is None:
            return
        lesson, phase = view.lesson, frame.next_phase
        if lesson.script is not None:
            self._tell_next_lines(view)
            return
        for section in spoken_lesson.prose_before(lesson, phase):
            self._tell_section(section, view)
        said = list(self._before(lesson, phase, frame.mode))
        if len(said) > 1:
            self._writer.apart(said)
        else:
            self._writer.say(*said)
        if frame.is_epoch_end and frame.at.epoch and not self._has_offered_reading:
            self._has_offered_reading = True
            if rest := [s.heading for s in spoken_lesson.further_reading(lesson)]:
                self._writer.say(
                    f"There is more to read: {sentence('; '.join(rest))} Type read for it."
                )

    def _tell_next_lines(self, view: RunView) -> None:
        """Tell the next line of a script; all lines of its phase the first time."""
        said = list(spoken_lesson.what_is_next(view))
        section, frame = view.next_section, view.frame
        if section is not None and frame is not None and frame.next_line in section.lines:
            is_new = self._is_new(section, "before")
            if is_new and len(section.lines) > 1:
                said.append(spoken_lesson.phase_lines(view.lesson, section))
        self._writer.say(*said)

    def _before(self, lesson: Lesson, phase: str, mode: str) -> Iterator[Line]:
        """The parts of a phase's text that were not told yet."""
        section = lesson.phase(phase)
        if section is None:
            return
        fences = section.fences(mode)
        is_new = self._is_new(section, "before")
        is_new_code = self._is_new(section, "\n".join(fence.code for fence in fences))
        yield f"{phase}." if phase == SETUP else f"Next: {phase}."
        if is_new:
            yield from spoken_lesson.before(lesson, section, mode)
        elif is_new_code:
            yield from (SpokenCode(fence.code) for fence in fences)

    def _after(self, view: RunView, phase: str, *, with_words: bool = True) -> Iterator[Line]:
        frame = view.frame
        section = view.lesson.phase(phase, frame.line if frame else 0)
        if section is not None and frame is not None:
            is_new = with_words and self._is_new(section, "after")
            values = frame.boxed.get(phase, {})
            yield from spoken_lesson.after(view.lesson, section, values, with_words=is_new)

    def _tell_section(self, section: Section, view: RunView) -> None:
        if self._is_new(section, "before"):
            said = spoken_lesson.before(view.lesson, section, view.mode)
            self._writer.apart([sentence(section.heading), *said])

    def read_on(self, view: RunView) -> None:
        """Tell the next section after the phases; all of them again once all were spoken."""
        rest = spoken_lesson.further_reading(view.lesson)
        unspoken = [s for s in rest if (s.line, "before") not in self._spoken]
        for section in unspoken[:1] or rest:
            self._spoken.discard((section.line, "before"))
            self._tell_section(section, view)
        if len(unspoken) > 1:
            self._writer.say(f"There is more: {sentence(unspoken[1].heading)} Type read for it.")
        if not rest:
            self._writer.say("There is nothing to read after the phases.")

    def _is_new(self, section: Section, what: str) -> bool:
        key = (section.line, what)
        is_new = key not in self._spoken
        self._spoken.add(key)
        return is_new


# ── Printed lines and values ────────────────────────────────────────────────────────

_WARNING = re.compile(r".*?:\d+: (?P<kind>\w*Warning): (?P<message>.*)")
"""`path:line: UserWarning: message`. A row with the source of that line follows, indented; the
line counts within the piece of code that ran, so that neither says where it is."""
_INTERNAL = re.compile(r" \(Triggered internally at [^)]*\)")


def spoken_printed(lines: Sequence[str]) -> Iterator[str]:
    """The lines of a lesson's output that are worth telling."""
    is_after_warning = False
    for line in lines:
        if warning := _WARNING.fullmatch(line):
            message = _INTERNAL.sub("", warning["message"])
            yield f"A warning, {warning['kind']}: {message.rstrip('. ')}."
        elif any(c.isalnum() for c in line) and not (is_after_warning and line.startswith("  ")):
            yield f"Printed: {line}"
        is_after_warning = warning is not None


def changes(now: Frame, was: Frame | None, shown: Iterable[str] = ()) -> list[str]:
    """A sentence for each value that has changed.

    `shown`: expressions whose values formulas tell; their arrays are left out.
    """
    is_same_loss = was is None or was.loss_phase == now.loss_phase
    said = list(_changes(now, was, " ".join(shown), is_same_loss=is_same_loss))
    if was is not None and now.learning_rate != was.learning_rate:
        rates = f"{spoken_number(was.learning_rate)} to {spoken_number(now.learning_rate)}"
        said.append(f"The learning rate went from {rates}.")
    earlier = {rank.rank: rank for rank in was.ranks} if was else {}
    for rank in now.ranks:
        past = earlier.get(rank.rank)
        told = _changes(rank, past, " ".join(shown), is_same_loss=is_same_loss)
        said += [f"On rank {rank.rank}: {sentence}" for sentence in told]
    return said


def _changes(
    now: Frame | RankFigures, was: Frame | RankFigures | None, shown: str, *, is_same_loss: bool
) -> Iterator[str]:
    if was is None or _is_different(now.loss, was.loss):
        yield from _change("The loss", now.loss, was.loss if was and is_same_loss else None)
    gradients = was.gradients if was else {}
    told = list(_changes_of_each("The gradient of {}", now.gradients, gradients, shown))
    yield from _not_too_many(told, "gradients have changed")
    yield from _not_too_many(list(_changes_since(now, was)), "gradients were changed or reset")
    told = list(_changes_of_each("{}", now.values, was.values if was else {}, shown))
    yield from _not_too_many(told, "parameters have changed")
    watched = was.watched if was else {}
    yield from _changes_of_each("{}", now.watched, watched, shown, link=":")


def _changes_since(now: Frame | RankFigures, was: Frame | RankFigures | None) -> Iterator[str]:
    """The gradients that have changed since the Gradient phase left them."""
    for name, value in now.gradients_now.items():
        before = was.gradients_now.get(name) if was else None
        if _is_different(value, now.gradients.get(name)) and _is_different(value, before):
            what = "changed" if any(value.data) else "reset"  # clipping changes it
            yield f"The gradient of {name} is {what}: now {spoken_value(value)}."


def _not_too_many(told: Sequence[str], what: str) -> Sequence[str]:
    """The sentences; of a large network, which has one for each parameter, how many there are."""
    if len(told) <= MOST_TOLD:
        return told
    return [f"{len(told)} {what}. Type values for all."]


def _changes_of_each(
    words: str,
    now: Mapping[str, Value],
    was: Mapping[str, Value],
    shown: str,
    *,
    link: str = " is",
) -> Iterator[str]:
    for name, value in now.items():
        is_said = not is_single(value) and re.search(rf"\b{re.escape(name)}\b", shown)
        if _is_different(value, was.get(name)) and not is_said:
            yield from _change(words.format(name), value, was.get(name), link=link)


def _is_different(now: Value, was: Value | None) -> bool:
    """Whether a value has changed; NaN is equal to NaN here."""
    if was is None or now.shape != was.shape or len(now.data) != len(was.data):
        return True
    figures, before = ((*v.data, v.mean, v.norm) for v in (now, was))
    pairs = zip(figures, before, strict=True)
    is_other_text = (now.text, now.why) != (was.text, was.why)
    return is_other_text or any(a != b and not (a != a and b != b) for a, b in pairs)


def _change(name: str, now: Value, was: Value | None, *, link: str = " is") -> Iterator[str]:
    if not is_known(now) or (not now.data and was is None):
        return
    if was is not None and was.data and now.data and is_single(now) and is_single(was):
        a, b = was.data[0], now.data[0]
        if now.dtype == was.dtype == "bool":
            yield f"{name}: {'now' if b else 'no longer'} true."
            return
        if math.isfinite(a) and math.isfinite(b):
            verb, start, end = "rose" if b > a else "fell", spoken_number(a), spoken_number(b)
            by_little = f"by {spoken_number(abs(b - a))}, to {end}"  # if both look the same
            yield f"{name} {verb} {f'from {start} to {end}' if start != end else by_little}."
            return
    is_first = was is None or not was.data
    yield f"{name}{link} {'' if is_first else 'now '}{spoken_value(now)}."


def all_values(frame: Frame) -> list[str]:
    """A sentence for each watched number, of each rank."""
    others = [f"On rank {rank.rank}: {said}" for rank in frame.ranks for said in _values_of(rank)]
    return [*_values_of(frame), *others]


def _of_loss(frame: Frame | RankFigures) -> str:
    if frame.loss != NONE:
        return f"The loss is {spoken_value(frame.loss)}."
    is_whole = isinstance(frame, Frame) and frame.at.epoch > 0 and frame.is_epoch_end
    return "The code computes no loss." if is_whole else "There is no loss yet."


def _values_of(frame: Frame | RankFigures) -> list[str]:
    said = [_of_loss(frame)]
    is_brief = len(frame.values) > MOST_TOLD
    for name, value in frame.values.items():
        gradient = frame.gradients.get(name)
        now = frame.gradients_now.get(name)
        line = f"{name} is {spoken_value(value, is_brief=is_brief)}."
        if gradient is not None:
            used = spoken_value(gradient, is_brief=is_brief)
            if now is None or not _is_different(now, gradient):
                line += f" Its gradient is {used}."
            else:
                kept = spoken_value(now, is_brief=is_brief)
                line += f" Its gradient in this step is {used}; {kept} is left over for the next."
            if (own := frame.gradients_before_sync.get(name)) is not None:
                line += f" Before Synchronize it was {spoken_value(own, is_brief=is_brief)}."
        said.append(line)
    watched = (f"{name}: {spoken_value(v)}." for name, v in frame.watched.items() if is_known(v))
    return [*said, *watched]
