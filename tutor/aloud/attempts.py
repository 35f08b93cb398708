"""What is said of an exercise: what is asked, what came of an answer, and what can be typed.

Knows attempts; nothing of sessions and runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from tutor.aloud.hints import without_keys
from tutor.aloud.prose import sentence, spoken_prose
from tutor.aloud.voice import Code, Line, in_words
from tutor.lesson.exercise import Choose, Exercise, kind_of
from tutor.teaching.attempt import Attempt
from tutor.teaching.journal import Deed
from tutor.teaching.rules import may_change

KINDS = {
    "predict": "predict what comes",
    "reach": "reach a goal",
    "repair": "mend the code",
    "autograd": "be autograd",
    "choose": "choose an answer",
}
HOW = {
    "number": "Type a number.",
    "sign": "Type plus, minus or zero.",
    "choice": "Type the number of your answer.",
    "code": "Type edit to write the code anew; code says it again.",
    "condition": "Step and run until it is so.",
}
DEEDS: Mapping[Deed, str] = {
    "tried": "tried",
    "hinted": "begun",
    "shown": "solution seen",
    "done": "done",
    "skipped": "skipped",
}
SIGNS = {"plus": "+", "positive": "+", "minus": "-", "negative": "-", "zero": "0", "null": "0"}
"""Signs as they may be typed, for whom a lone sign is hard to hear."""


def news(now: Attempt, was: Attempt | None, standing: Sequence[Line] = ()) -> Iterator[Line]:
    """What is new since `was`; all of it if that was another exercise, or none.

    `standing`: where its run stands, said before a question.
    """
    is_same = was is not None and was.exercise.id == now.exercise.id
    old = was if is_same else None
    if old is None:
        yield _title(now)
    if _is_asked_anew(now, old):
        if not isinstance(now.exercise, Choose):  # which is not about the run
            yield from standing
        yield from _question(now)
    is_new_reply = bool(now.reply) and _has_changed(now, old)
    if verdict := _verdict(now, old, with_reply=is_new_reply):
        yield from _led(verdict, now.reply) if is_new_reply else (verdict,)
    elif is_new_reply:
        yield from spoken_prose(now.reply)
    if old is not None and now.step > old.step and now.ask != old.ask:
        yield from spoken_prose(without_keys(now.ask))
    for number, hint in enumerate(now.hints, 1):
        if old is None or number > len(old.hints):
            yield from _led(f"Hint {number} of {len(now.exercise.hints)}:", without_keys(hint))
    if now.solution and (old is None or now.solution != old.solution):
        yield from _led("The solution:", now.solution)
    if old is None or now.state != old.state:
        yield from _after(now)


def _is_asked_anew(now: Attempt, old: Attempt | None) -> bool:
    if now.state not in ("asking", "done", "wrong"):
        return False
    return old is None or (old.state in ("opening", "wrong") and now.state == "asking")


def _has_changed(now: Attempt, old: Attempt | None) -> bool:
    return old is None or (now.reply, now.tries) != (old.reply, old.tries)


def _verdict(now: Attempt, old: Attempt | None, *, with_reply: bool) -> str:
    """The word that an answer is told with first; empty where none has been judged since."""
    if now.state in ("wrong", "done"):
        is_judged = old is None or now.state != old.state
        right = "Right: the goal is reached." if now.wants == "condition" else "Right."
        return (right if now.state == "done" else "Not right.") if is_judged else ""
    if old is None or now.tries == old.tries or not with_reply or now.was_right:
        return ""
    return "Not right." if isinstance(now.exercise, Choose) else "Not yet."


def _title(attempt: Attempt) -> str:
    exercise = attempt.exercise
    kind = KINDS[kind_of(exercise)]
    return f"Exercise {attempt.number} of {attempt.count}, {exercise.id}: {kind}."


def _question(attempt: Attempt) -> Iterator[Line]:
    yield from spoken_prose(without_keys(attempt.ask))
    for number, choice in enumerate(attempt.choices, 1):
        yield from _led(f"{number}:", choice)
    if attempt.wants == "code":
        yield Code(attempt.code, numbered=True)
    if may := without_keys(may_change(attempt.exercise)):
        yield sentence(f"You may change {may}")
    yield HOW[attempt.wants]


def still_to_reach(attempt: Attempt) -> Iterator[Line]:
    """What of a goal does not hold where the run rests: what it is, and what it should be."""
    for number, way in enumerate(attempt.marks):
        for index, mark in enumerate(mark for mark in way if not mark.holds):
            start = "Or this is enough. " if number and not index else ""
            what = mark.what[:1].upper() + mark.what[1:]
            yield sentence(in_words(f"{start}{what}: {mark.stands}{mark.should_be}"))


def _after(attempt: Attempt) -> Iterator[Line]:
    if attempt.state == "wrong":
        yield "Type next to be asked again, hint for a hint, or solution."
    elif attempt.state == "done":
        yield from spoken_prose(attempt.explain)
        yield "Type next for the next exercise, or leave to go back to the lesson."


def _led(start: str, markdown: str) -> Iterator[Line]:
    """Markdown with a word before it."""
    first, *others = spoken_prose(markdown) or [""]
    if isinstance(first, Code):
        yield from (start, first)
    else:
        yield f"{start} {first}"
    yield from others


def is_answer(line: str, attempt: Attempt, *, is_command: bool) -> bool:
    """Whether a line is meant as an answer: no command, where an answer may be typed."""
    takes_one = attempt.wants in ("number", "sign", "choice")
    is_late = attempt.state != "asking" and not line.strip()[:1].isdigit()
    return takes_one and bool(line.strip()) and not is_command and not is_late


def listing(exercises: Sequence[Exercise], deeds: Mapping[str, Deed]) -> Iterator[Line]:
    """All exercises of a lesson, and how far the learner has come with each."""
    if not exercises:
        yield "This lesson has no exercises."
        return
    for number, exercise in enumerate(exercises, 1):
        deed = deeds.get(exercise.id)
        state = DEEDS[deed] if deed else "not begun"
        yield f"Exercise {number}, {exercise.id}: {KINDS[kind_of(exercise)]}; {state}."
    yield "Type exercise and a name to begin one; exercise alone begins the first that is open."
