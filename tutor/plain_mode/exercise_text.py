"""The text of an exercise in plain mode: question, reply, hints and solution."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from tutor.lesson import code_checks
from tutor.lesson.exercise import Backpropagate, Exercise, Reach, Repair, kind_of
from tutor.lesson.model import Lesson
from tutor.plain_mode.spoken_text import (
    Line,
    SpokenCode,
    in_words,
    sentence,
    spoken_prose,
    spoken_python,
)
from tutor.progress import ExerciseResult
from tutor.protocol.events import LessonFailed
from tutor.script.line_places import code_at
from tutor.session.attempt import Attempt, Wants, phase_to_fix
from tutor.session.run_view import Notice
from tutor.wording.engine_remarks import engine_remark_text, phase_text
from tutor.wording.feedback import (
    question_markdown,
    reply_markdown,
    solution_markdown,
    verdict,
)
from tutor.wording.goals import goal_words
from tutor.wording.notices import allowed_changes, kind_words, notice_parts


class AnswerWords(NamedTuple):
    """The words for one sort of answer."""

    how: str
    """How the answer is given."""
    after_solution: str
    """How it is given when the solution is known."""


ANSWERS: Mapping[Wants, AnswerWords] = {
    Wants.NUMBER: AnswerWords("Type a number.", "Type it as your answer, or type skip."),
    Wants.SIGN: AnswerWords("Type plus, minus or zero.", "Type it as your answer, or type skip."),
    Wants.CHOICE: AnswerWords(
        "Type the number of your answer.", "Type its number as your answer, or type skip."
    ),
    Wants.CODE: AnswerWords(
        "Type edit to write the code again, or code to hear it again.",
        "Type edit to write it, or type skip.",
    ),
    Wants.GOAL: AnswerWords(
        "Run the lesson until the goal is reached.", "Reach the goal, or type skip."
    ),
}
TYPED: Mapping[str, str] = {
    "step_phase": "next",
    "step_epoch": "epoch",
    "operation": "operation",
    "toggle_run": "run",
    "restart": "restart",
    "reconnect": "reconnect",
    "resume_previous": "go on",
    "exercise": "exercise",
    "exercises": "exercises",
    "lessons": "lessons",
    "edit": "edit",
    "skip": "skip",
    "unskip": "unskip",
    "leave": "leave",
    "stop": "Ctrl+C",
    "quit": "quit",
}
"""The words that a notice tells the learner to type, by the name of the command."""
AGREE = "Type agree to run exactly this code, edit to write it again, or code to hear it again."
_WORDS = ("loss", "lowest", "highest", "largest", "epoch", "epochs")
"""First words of a goal's comparison that are no names of the lesson."""
AGAIN = "Type next to be asked again, hint for a hint, or solution."
RESULTS: Mapping[ExerciseResult, str] = {
    "tried": "tried",
    "hinted": "begun",
    "shown": "solution seen",
    "done": "done",
    "skipped": "skipped",
    "unskipped": "not begun",
}


def spoken_notice(notice: Notice) -> str:
    """A notice as sentences, with the words to type."""
    parts = (part.removesuffix(" …") for part in notice_parts(notice, TYPED))
    return " ".join(sentence(in_words(_capitalized(part))) for part in parts)


def _capitalized(text: str) -> str:
    """The text with a capital, unless it may begin with the name of a variable: `w`, `w1`."""
    first = text.partition(" ")[0].rstrip(":")
    return text[:1].upper() + text[1:] if len(first) > 1 and first.isalpha() else text


def news(
    now: Attempt,
    was: Attempt | None,
    standing: Sequence[Line] = (),
    *,
    kind: str = "",
    in_symbols: bool = False,
) -> Iterator[Line]:
    """All that is new since `was`; the whole exercise if `was` is another one or None.

    `standing` is the position of its run, spoken before a question. After a command of the `kind`
    answer, edit or solution, the reply is spoken even if it was spoken before.
    """

    def prose(markdown: str) -> list[Line]:
        return _prose(now, markdown, in_symbols)

    is_same = was is not None and was.exercise.id == now.exercise.id
    old = was if is_same else None
    if old is None:
        yield _title(now)
    if _is_new_question(now, old):
        if now.is_about_run:
            yield from standing
        yield from _question(now, in_symbols)
    is_asked_for = kind in ("answer", "edit")
    reply = reply_markdown(now)
    is_new_reply = bool(reply) and (is_asked_for or _has_changed(now, old))
    if outcome := _outcome(now, old, with_reply=is_new_reply):
        yield from _with_lead(outcome, prose(reply)) if is_new_reply else (outcome,)
    elif is_new_reply:
        yield from prose(reply)
    if kind == "edit" and now.state == "asking":
        yield from _after_edit(now)
    solution = solution_markdown(now)
    is_new_solution = old is None or kind == "solution" or solution != solution_markdown(old)
    if old is not None and (
        now.question_number > old.question_number or (is_new_reply and _is_one_of_many(now))
    ):
        yield question(now)
    for number, hint in enumerate(now.hints, 1):
        if old is None or hint not in old.hints:
            said = prose(hint)
            yield from _with_lead(f"Hint {number} of {len(now.asked.hints)}:", said)
    if solution and is_new_solution:
        yield from _solution(now, prose(solution))
    if old is None or now.state != old.state:
        yield from _after(now, in_symbols)


def _prose(attempt: Attempt, markdown: str, in_symbols: bool = False) -> list[Line]:
    """Markdown of an exercise; in a backward pass, code is put in words."""
    is_asked = isinstance(attempt.exercise, Backpropagate)
    return spoken_prose(
        markdown, in_symbols=in_symbols, spoken_code=spoken_python if is_asked else str
    )


def _is_one_of_many(attempt: Attempt) -> bool:
    """Whether it is at one of several questions."""
    return isinstance(attempt.exercise, Backpropagate) and attempt.state == "asking"


def question(attempt: Attempt, in_symbols: bool = False) -> str:
    """The last paragraph of the current question."""
    said = _prose(attempt, question_markdown(attempt), in_symbols)
    return next((line for line in reversed(said) if isinstance(line, str)), "")


def _is_new_question(now: Attempt, old: Attempt | None) -> bool:
    if now.state not in ("asking", "done", "wrong"):
        return False
    return old is None or (old.state in ("opening", "wrong") and now.state == "asking")


def _has_changed(now: Attempt, old: Attempt | None) -> bool:
    return old is None or (now.reply, now.tries) != (old.reply, old.tries)


def _outcome(now: Attempt, old: Attempt | None, *, with_reply: bool) -> str:
    """The first words of a reply: right or not; empty if no answer was judged."""
    if now.state in ("wrong", "done"):
        is_judged = old is None or now.state != old.state
        is_goal = now.state == "done" and now.is_met
        said = "Done: the goal is reached." if is_goal else verdict(now)
        return said if is_judged else ""
    if old is None or now.tries == old.tries or not with_reply or now.was_right:
        return ""
    return verdict(now)


def _title(attempt: Attempt) -> str:
    exercise = attempt.exercise
    kind = kind_words(kind_of(exercise)).task
    return f"Exercise {attempt.number} of {attempt.count}, {exercise.id}: {kind}."


def _question(attempt: Attempt, in_symbols: bool) -> Iterator[Line]:
    yield from _prose(attempt, question_markdown(attempt), in_symbols)
    for number, choice in enumerate(attempt.choices, 1):
        yield from _with_lead(f"{number}:", spoken_prose(choice, in_symbols=in_symbols))
    if attempt.wants.is_edited:
        yield from code_to_fix(attempt)
    if isinstance(attempt.exercise, Reach):
        yield sentence(f"You may change {allowed_changes(attempt.exercise.may, {})}")
    yield AGREE if attempt.is_from_elsewhere else ANSWERS[attempt.wants].how


def code_to_fix(
    attempt: Attempt, failed: LessonFailed | None = None, lesson: Lesson | None = None
) -> Iterator[Line]:
    """The code to fix and its error."""
    yield SpokenCode(attempt.code, numbered=True)
    exercise = attempt.exercise
    if failed is not None:
        yield failure(failed, attempt, lesson)
    elif isinstance(exercise, Repair) and exercise.symptom.error and attempt.code == exercise.code:
        yield f"It fails with: {sentence(exercise.symptom.error.strip())}"


def failure(failed: LessonFailed, attempt: Attempt | None, lesson: Lesson | None = None) -> str:
    """The line of the code that failed, and Python's message.

    In an exercise, the line of the lesson's file is quoted from `lesson`.
    """
    line = f" on line {failed.line}" if failed.line else ""
    if attempt is not None and failed.phase != phase_to_fix(attempt.exercise):
        quoted = code_at(lesson, failed.line) if lesson else ""
        line = f" at {quoted}" if quoted else ""
    elif attempt is not None and failed.line:
        rows = attempt.code.split("\n")
        if failed.line <= len(rows):
            line += f" of the code to fix, {rows[failed.line - 1].strip()}"
    phase = phase_text(failed.phase)
    return (
        f"{phase[:1].upper()}{phase[1:]} failed{line}: {sentence(engine_remark_text(failed.error))}"
    )


def still_to_do(attempt: Attempt) -> Iterator[Line]:
    """The distance to a goal that is not reached."""
    if attempt.state == "asking" and attempt.is_met is False:
        yield "The goal is not reached here."
        if attempt.is_missed:
            yield "This run can't reach it any more. Type restart."
        yield from still_to_reach(attempt)


def still_to_reach(attempt: Attempt) -> Iterator[Line]:
    """The conditions of a goal that do not hold yet: the current value and the wanted one."""
    for number, way in enumerate(goal_words(attempt.marks)):
        for index, mark in enumerate(mark for mark in way if not mark.holds):
            start = "Or this is enough. " if number and not index else ""
            is_variable = mark.what.split(" ", 1)[0] not in _WORDS  # `w * 5 + b` stays as it is
            what = mark.what if is_variable else mark.what[:1].upper() + mark.what[1:]
            yield sentence(in_words(f"{start}{what}: {mark.stands}{mark.should_be}"))


def _after_edit(attempt: Attempt) -> Iterator[Line]:
    """The reply to code that does not pass."""
    if attempt.is_from_elsewhere:
        yield AGREE
        return
    if code_checks.why_not_code(attempt.code):
        yield "The run still uses the previous code. Yours is saved as a draft."
    yield "Type code to hear it, edit to write it again, or hint."


def _solution(attempt: Attempt, said: Sequence[Line]) -> Iterator[Line]:
    """The solution, with its number if it is a choice, and the next command."""
    number = attempt.solution.values.get("number", 0) if attempt.solution else 0
    yield from _with_lead(f"The solution: number {number}," if number else "The solution:", said)
    if attempt.state == "asking":
        if _is_one_of_many(attempt):
            yield question(attempt)
        yield ANSWERS[attempt.wants].after_solution
    elif attempt.state == "wrong":
        yield AGAIN


def _after(attempt: Attempt, in_symbols: bool) -> Iterator[Line]:
    if attempt.state == "wrong":
        yield AGAIN
    elif attempt.state == "done":
        yield from _prose(attempt, attempt.explain, in_symbols)
        yield "Type next for the next exercise, or leave to go back to the lesson."


def _with_lead(start: str, said: Sequence[Line]) -> Iterator[Line]:
    """Lines with a lead before the first."""
    first, *others = said or [""]
    if isinstance(first, SpokenCode):
        yield from (start, first)
    else:
        yield f"{start} {first}"
    yield from others


def is_answer(line: str, attempt: Attempt, *, is_command: bool) -> bool:
    """Whether a line is an answer and no command."""
    is_late = attempt.state != "asking" and not is_number(line)
    return attempt.wants.is_answer and bool(line.strip()) and not is_command and not is_late


def is_number(line: str) -> bool:
    """Whether the line begins like a number."""
    return bool(re.match(r"[+−-]?[.,]?\d", line.strip()))


def listing(exercises: Sequence[Exercise], results: Mapping[str, ExerciseResult]) -> Iterator[Line]:
    """The exercises of a lesson with the state of each."""
    if not exercises:
        yield "This lesson has no exercises."
        return
    for number, exercise in enumerate(exercises, 1):
        result = results.get(exercise.id)
        state = RESULTS[result] if result else "not begun"
        yield f"Exercise {number}, {exercise.id}: {kind_words(kind_of(exercise)).task}; {state}."
    yield "Type exercise and a name to begin one; exercise alone begins the first that is open."
