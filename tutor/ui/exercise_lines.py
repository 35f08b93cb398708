"""Exercises as lines on the screen: their list, a question, a reply, the keys."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec
from textual.content import Content
from textual.style import Style

from tutor.lesson.exercise import Exercise, Reach, Repair, kind_of
from tutor.plain import one_line
from tutor.progress import ExerciseResult
from tutor.protocol.events import LessonFailed
from tutor.session.attempt import Attempt, phase_to_fix
from tutor.session.journal import next_to_do
from tutor.ui.commands import KEYS
from tutor.ui.lines import ACTIVE, DIM, ERROR, HEADING, KEY, NEXT, STRONG, VALUE, Piece, line
from tutor.ui.prose import Inline, prose_lines
from tutor.wording.feedback import question_markdown, reply_markdown, solution_markdown, verdict
from tutor.wording.goals import GoalWords, goal_words
from tutor.wording.notices import KIND_WORDS, allowed_changes, kind_words

KeyHelp = tuple[str, str]
"""A key as the learner reads it, and its action."""

_KIND_CELLS = max(len(words.name) for words in KIND_WORDS.values())
_STATE_CELLS = 13
_MARKED = 4
"""Cells before a comparison of the goal: the indentation and the mark."""
CHOICE = "choice "
"""The prefix of the names of parts that are choices."""
ASKED_FOR = ("hint", "solution")
"""The prefix of the names of parts that the learner asks for."""
NEVER_NEW = ("title", "goal", "task", "how")
"""Parts that change without a new text: the state, the figures of a goal."""
_ONE_ROW = 1000
"""The width at which a question's first paragraph is not folded."""

_STATES: Mapping[ExerciseResult | None, tuple[str, str]] = {
    None: ("◇", "new"),
    "unskipped": ("◇", "new"),
    "hinted": ("·", "hint seen"),
    "tried": ("·", "tried"),
    "shown": ("·", "solution seen"),
    "skipped": ("–", "skipped"),
    "done": ("✓", "done"),
}
"""The mark and the word of each result."""


# ── The list ────────────────────────────────────────────────────────────────────────


def exercise_row(
    number: int, exercise: Exercise, result: ExerciseResult | None, width: int, inline: Inline
) -> Content:
    """One exercise in a list: mark, number, kind, the beginning of its question, its state."""
    mark, word = _STATES[result]
    head = line(
        (f"{mark} ", STRONG),
        f"{number:>2}  ",
        (kind_words(kind_of(exercise)).name.ljust(_KIND_CELLS + 2), HEADING),
    )
    room = max(10, width - head.cell_length - _STATE_CELLS - 2)
    asked = prose_lines(exercise.ask, _ONE_ROW, inline)[:1] or [line()]
    return head + asked[0].truncate(room, ellipsis=True, pad=True) + line("  ", (word, DIM))


def place_line(
    number: int, exercise: Exercise, result: ExerciseResult | None, is_next: bool
) -> Content:
    """The exercise's place in the text of the lesson: `◇ Exercise 2: predict · a`."""
    mark, word = _STATES[result]
    pieces: list[Piece] = [
        (f"{mark} Exercise {number}: {kind_words(kind_of(exercise)).name}", HEADING)
    ]
    if result is not None:
        pieces.append(f" · {word}")
    if is_next:
        pieces += [" · ", ("a", KEY)]
    return line(*pieces)


# ── One exercise ────────────────────────────────────────────────────────────────────


class TextPart(msgspec.Struct, frozen=True):
    """Lines that belong together; when they are new, the pane scrolls to them."""

    name: str
    lines: tuple[Content, ...]
    is_tight: bool = False
    """Whether the next part follows without an empty line."""

    @property
    def says(self) -> str:
        """The text of the part, without its folding."""
        return "".join("".join(content.plain.split()) for content in self.lines)


def parts(attempt: Attempt, picked: int, width: int, inline: Inline) -> Iterator[TextPart]:
    """All parts of an exercise, from the title to the explanation.

    `picked` is the choice that the mark stands at, from 0; -1 for none.
    """

    def prose(markdown: str) -> list[Content]:
        return prose_lines(markdown, width, inline)

    yield _part("title", [title(attempt)], is_tight=True)
    yield _part("ask", prose(question_markdown(attempt)))
    for index, choice in enumerate(attempt.choices):
        rows = _choice(index, choice, index == picked, width, inline)
        yield _part(f"{CHOICE}{index + 1}", rows, is_tight=index + 1 < len(attempt.choices))
    is_done = attempt.state == "done"
    if not is_done:
        yield from _aims(attempt, width)
    if feedback := reply(attempt, width, inline):
        yield _part("reply", feedback)
    if attempt.explain:
        yield _part("explain", prose(attempt.explain))
    if is_done:
        yield from _aims(attempt, width)
    for number, hint in enumerate(attempt.hints, 1):
        yield _part(f"hint {number}", _headed(f"Hint {number}: ", hint, width, inline))
    if solution := solution_markdown(attempt):
        yield _part("solution", _headed("Solution: ", solution, width, inline))


def _aims(attempt: Attempt, width: int) -> Iterator[TextPart]:
    """Lines for the goal, or for the code to fix, with the keys."""
    if near := goal(attempt, width):
        yield _part("goal", near, is_tight=True)
    if attempt.state != "done" and (more := task(attempt, width)):
        yield _part("task", more)
    phase = phase_to_fix(attempt.exercise)
    if phase and attempt.state != "done":
        yield _part("how", [line(("o", KEY), f" edits the code of {one_line(phase)}.")])


def _part(name: str, lines: Iterable[Content], is_tight: bool = False) -> TextPart:
    return TextPart(name, tuple(lines), is_tight)


def title(attempt: Attempt) -> Content:
    """`Exercise 2 of 4 · predict`, and how far it is."""
    kind = kind_words(kind_of(attempt.exercise)).name
    words = f"Exercise {attempt.number} of {attempt.count} · {kind}"
    pieces: list[Piece] = [(words, HEADING)]
    if attempt.question_count:
        pieces.append(f" · question {attempt.question_number} of {attempt.question_count}")
    if attempt.state == "done":
        pieces += [" · ", ("✓ done", NEXT)]
    elif attempt.state == "opening":
        pieces.append(" · is being set up …")
    elif attempt.state == "judging":
        pieces.append(" · is being checked …")
    return line(*pieces)


def _choice(
    index: int, choice: str, is_picked: bool, width: int, inline: Inline
) -> Iterator[Content]:
    head = f"{'▶' if is_picked else ' '} {index + 1}  "
    for row in prose_lines(choice, max(10, width - len(head)), inline):
        yield line((head, STRONG)) + (row.stylize(ACTIVE) if is_picked else row)
        head = " " * len(head)


def task(attempt: Attempt, width: int) -> list[Content]:
    """Lines for an exercise without a field: the changes it allows, or the code's error."""
    exercise = attempt.exercise
    if isinstance(exercise, Reach):
        words = f"You may change {allowed_changes(exercise.may, KEYS)}; step and run as you like."
        return line((words, DIM)).wrap(width)
    # A repair's condition is not shown: it would give the answer away.
    error = one_line(exercise.symptom.error) if isinstance(exercise, Repair) else ""
    return line("It fails with: ", (error, ERROR)).wrap(width) if error else []


def goal(attempt: Attempt, width: int) -> list[Content]:
    """Whether the condition that the question states is met, and how near it is."""
    if not isinstance(attempt.exercise, Reach):
        return []
    state: Piece = ("? not known yet: step or run", DIM)
    if attempt.is_met:
        state = ("✓ met", NEXT)
    elif attempt.is_met is False:
        words = "✗ not in this run any more: R starts again" if attempt.is_missed else "✗ not yet"
        state = (words, ERROR)
    every = goal_words(attempt.marks)
    met = tuple(way for way in every if all(part.holds for part in way))
    ways = met[:1] if attempt.is_met and met else every
    count = "two" if len(ways) == 2 else str(len(ways))
    enough = f" · one of these {count} ways is enough" if len(ways) > 1 else ""
    rows = [line("Goal: ", state, (enough, DIM))]
    for number, way in enumerate(ways):
        if number:
            rows.append(line((" " * _MARKED + "or", DIM)))
        rows += [row for mark in way for row in _marked(mark, width)]
    return rows


def _marked(mark: GoalWords, width: int) -> Iterator[Content]:
    """`✗ last loss: 16, should be below 0.01`, folded below its beginning."""
    sign: Piece = ("  ✓ ", NEXT) if mark.holds else ("  ✗ ", ERROR)
    words = line(
        f"{one_line(mark.what)}: ", (one_line(mark.stands), VALUE), one_line(mark.should_be)
    )
    for row in words.wrap(max(10, width - _MARKED)):
        yield line(sign) + row
        sign = " " * _MARKED


def reply(attempt: Attempt, width: int, inline: Inline) -> list[Content]:
    """Lines of the reply to the last answer, after ✓ or ✗ and a word."""
    words = reply_markdown(attempt)
    if attempt.state == "done":
        return _headed(f"✓ {verdict(attempt)} ", words, width, inline, NEXT)
    if attempt.reply is None:
        return []
    head, style = "▸ ", STRONG
    if attempt.unread:
        words += _KEYS_TYPED.get(attempt.unread, "")
    elif attempt.is_from_elsewhere:
        pass
    elif attempt.state == "wrong" or attempt.was_right is False:
        head, style = f"✗ {verdict(attempt)} ", ERROR
    elif attempt.was_right:
        head, style = "✓ ", NEXT
    return _headed(head, words, width, inline, style)


_KEYS_TYPED = {
    "h": " (For a hint press esc, then h.)",
    "H": " (For the solution press esc, then H.)",
    "k": " (For “I know this” press esc, then k.)",
    "K": " (To take the last skip back press esc, then K.)",
}
"""The message for a learner who types a key as an answer."""


def where_failed(failed: LessonFailed, attempt: Attempt | None) -> str:
    """`line 2 of your code` if the learner's code failed; else nothing."""
    is_theirs = attempt is not None and failed.phase == phase_to_fix(attempt.exercise)
    return f"line {failed.line} of your code" if is_theirs and failed.line else ""


def tells_why_failed(attempt: Attempt, failed: LessonFailed | None) -> bool:
    """Whether the reply already names the error raised since the learner's code was put in."""
    if failed is None or attempt.reply is None or not attempt.wants.is_edited:
        return False
    is_in_reply = attempt.reply.values.get("error") == failed.error
    return is_in_reply or bool(where_failed(failed, attempt))


def _headed(
    head: str, markdown: str, width: int, inline: Inline, style: Style = STRONG
) -> list[Content]:
    """Prose with a word before it, on its first line; code stands below the word."""
    if markdown.lstrip().startswith("```"):
        return [line((head.rstrip(), style)), *prose_lines(markdown, width, inline)]
    filler = "x" * (len(head) - 1)  # so that the first line is folded where the word leaves room
    first, *rest = prose_lines(f"{filler} {markdown}", width, inline)
    return [line((head, style)) + first[len(head) :], *rest]


# ── The keys ────────────────────────────────────────────────────────────────────────


def asks_to_type(attempt: Attempt | None) -> bool:
    """Whether a number or a sign is to be typed now."""
    return attempt is not None and attempt.state == "asking" and attempt.wants.is_typed


def asks_to_choose(attempt: Attempt | None) -> bool:
    """Whether one of the choices is to be picked now."""
    return attempt is not None and attempt.state == "asking" and attempt.wants.is_picked


def tells_what_came(attempt: Attempt | None) -> bool:
    """Whether the phase in question has run, and the reply is shown."""
    is_over = ("judging", "wrong", "done")
    return attempt is not None and attempt.asks_what_comes and attempt.state in is_over


def keys_line(
    attempt: Attempt | None,
    is_typing: bool,
    width: int,
    exercises: Sequence[Exercise],
    results: Mapping[str, ExerciseResult],
) -> Content:
    """The keys that work now, as many as fit whole."""
    begin = [("a", _what_a_begins(exercises, results)), ("A", "chooses one")]
    keys = list(_keys(attempt)) if attempt else begin
    gap = " · "
    pieces: list[Piece] = []
    if is_typing and asks_to_type(attempt):
        pieces = [("enter", KEY), " answers · ", ("esc", KEY), " then: "]
        keys, gap = keys[1:], ", "
    used = line(*pieces).cell_length
    for number, (key, label) in enumerate(keys):
        between = gap if number else ""
        used += len(between) + len(key) + 1 + len(label)
        if used > width:
            break
        pieces += [between, (key, KEY), f" {label}"]
    return line(*pieces)


def _what_a_begins(exercises: Sequence[Exercise], results: Mapping[str, ExerciseResult]) -> str:
    """`begins exercise 2, which you skipped`."""
    next_one = next_to_do(exercises, results)
    if next_one is None:
        return "does exercise 1 again: all are done"
    skipped = ", which you skipped" if results.get(next_one.id) == "skipped" else ""
    return f"begins exercise {exercises.index(next_one) + 1}{skipped}"


def _keys(attempt: Attempt) -> Iterator[KeyHelp]:
    match attempt.state:
        case "wrong":
            yield ("enter", "asks again")
        case "done":
            yield ("enter", "goes on")
        case "judging":
            yield ("x", "stops it")
        case "asking":
            yield from _answering(attempt)
    if attempt.state in ("asking", "wrong"):
        if attempt.hints_left:
            yield ("h", f"hint ({attempt.hints_left} left)")
        if attempt.may_see_solution and not attempt.is_solution_shown:
            yield ("H", "solution")
        yield ("k", "I know this")
    yield ("esc", "leaves")


def _answering(attempt: Attempt) -> Iterator[KeyHelp]:
    if attempt.wants.is_typed:
        yield ("enter", "types an answer")
    elif attempt.wants.is_picked:
        yield (f"1-{len(attempt.choices)}", "chooses")
        yield ("enter", "answers")
    elif attempt.wants.is_edited:
        yield ("o", "edits the code")
