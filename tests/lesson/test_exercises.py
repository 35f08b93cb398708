"""The exercises of a lesson's file become data, each where it stands and with its lines."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import msgspec
import pytest

from tutor.lesson.document import parse, read
from tutor.lesson.exercise import (
    Again,
    Backpropagate,
    Choice,
    Choose,
    Exercise,
    Predict,
    Reach,
    Repair,
    Setting,
    Solution,
    Stage,
    StartPlace,
    Symptom,
    Wrong,
)
from tutor.lesson.model import Fence, Lesson, LessonDiagnostics, Prose, Section
from tutor.training.exercises import start_of

E = TypeVar("E", bound=Exercise)
FILE = Path(__file__).parent / "exercises.md"
SOURCE = FILE.read_text("utf-8")
LINES = SOURCE.split("\n")


@pytest.fixture(scope="module")
def lesson() -> Lesson:
    return read(FILE)


def named(lesson: Lesson, id_: str, kind: type[E]) -> E:
    found = next(e for e in lesson.exercises if e.id == id_)
    assert isinstance(found, kind)
    return found


def line_of(start: str) -> int:
    """The 1-based line of the file that begins so, the first of them."""
    return next(n for n, line in enumerate(LINES, start=1) if line.startswith(start))


def test_exercises_keep_the_files_order(lesson: Lesson) -> None:
    assert [(e.id, type(e)) for e in lesson.exercises] == [
        ("first-gradient", Predict),
        ("which-way", Predict),
        ("sign", Predict),
        ("reach-it", Reach),
        ("reach-by-waiting", Reach),
        ("fix", Repair),
        ("fix-an-error", Repair),
        ("be-it", Backpropagate),
        ("choose-one", Choose),
    ]


def test_an_exercise_stands_in_its_section_between_the_text_around_it(lesson: Lesson) -> None:
    first, between, second = lesson.sections[0].blocks[1:]
    assert isinstance(first, Predict)
    assert between == Prose("Between two exercises.", line_of("Between"))
    assert isinstance(second, Predict)
    predict = lesson.phase("Predict")
    assert predict
    assert [type(block) for block in predict.blocks] == [Prose, Predict, Fence]


def test_a_section_may_consist_of_an_exercise_alone() -> None:
    body = SOURCE.replace("What comes before.\n\n", "").replace("Between two exercises.\n", "")
    assert len(parse(body, FILE).sections[0].blocks) == 2


def test_the_text_of_an_exercise_is_markdown_without_blank_lines_around_it(lesson: Lesson) -> None:
    first = named(lesson, "first-gradient", Predict)
    assert first.ask == "What will the gradient\nof $w$ be?\n\nWrite a number."
    assert first.hints == ("Look at the loss.", "Look at $x$.")
    assert first.explain == "It is the *mean* of four."


def test_a_stage_says_all_of_the_run_that_an_exercise_begins_with(lesson: Lesson) -> None:
    assert named(lesson, "first-gradient", Predict).stage == Stage(
        mode="autograd",
        learning_rate=0.1,
        seed=3,
        settings=(Setting("w", (), 3.0), Setting("W", (0, 1), 0.5)),
        at=StartPlace(2, "Gradient", 4),
    )


def test_a_stage_that_says_nothing_is_the_lessons_own_start(lesson: Lesson) -> None:
    assert named(lesson, "choose-one", Choose).stage == Stage(mode="manual")
    assert named(lesson, "reach-it", Reach).stage == Stage(mode="manual", seed=1)


def test_a_phase_may_be_written_large_and_a_batch_left_out(lesson: Lesson) -> None:
    assert named(lesson, "sign", Predict).stage.at == StartPlace(7, "Update", 1)


def test_the_wrong_answers_of_a_predict_keep_their_replies(lesson: Lesson) -> None:
    first = named(lesson, "first-gradient", Predict)
    assert (first.working, first.lines["working"]) == ("4 * (y_pred - 3)", line_of("working"))
    assert (first.answer, first.form, first.tolerance) == ('gradient["w"]', "number", 0.001)
    assert first.wrong == (
        Wrong('4 * gradient["w"]', "That is the sum."),
        Wrong('-gradient["w"]', "Look at its sign."),
    )


def test_what_an_again_leaves_out_is_as_in_the_question_before(lesson: Lesson) -> None:
    first = named(lesson, "first-gradient", Predict)
    asked = [first.asked_in(round_) for round_ in range(4)]
    assert [exercise.stage for exercise in asked] == [
        first.stage,
        msgspec.structs.replace(first.stage, at=StartPlace(3, "Gradient", 2)),
        msgspec.structs.replace(first.stage, settings=(Setting("w", (), 5.0),)),
        Stage(mode="manual", learning_rate=0.5, seed=0, at=StartPlace(1, "Report")),
    ]
    assert asked[0] == first == first.asked_in(4)
    for left in (asked[1], asked[3]):
        assert left == msgspec.structs.replace(first, stage=left.stage)


def test_an_again_may_have_words_of_its_own(lesson: Lesson) -> None:
    own = named(lesson, "first-gradient", Predict).asked_in(2)
    assert (own.ask, own.hints, own.explain) == (
        "And from $w = 5$?",
        ("Look at 5.",),
        "Five more.",
    )
    assert own.wrong == (Wrong('5 * gradient["w"]', "Not five times."),)
    assert own.lines["again.1.wrong.0.reply"] == line_of("        reply: Not five")


def test_without_an_again_the_question_comes_again_one_epoch_later(lesson: Lesson) -> None:
    sign = named(lesson, "sign", Predict)
    later = Again(
        Stage(mode="autograd", at=StartPlace(8, "Update")), sign.ask, sign.hints, sign.explain
    )
    assert sign.again == (later,)


def test_one_epoch_after_the_warm_up_is_a_batch_that_an_epoch_has(lesson: Lesson) -> None:
    way = named(lesson, "which-way", Predict)
    assert way.stage.at == StartPlace(0, "Loss", 6)
    assert way.again[0].stage.at == StartPlace(1, "Loss", 4)


def test_choices_make_a_predict_a_choice_whose_keys_are_text(lesson: Lesson) -> None:
    way = named(lesson, "which-way", Predict)
    assert (way.form, way.answer) == ("choice", '"up" if loss > 1 else "no"')
    assert list(way.choices.items()) == [
        ("up", "It rises"),
        ("1", "It stays"),
        ("no", "It falls"),
    ]


def test_a_sign_is_asked_for_with_an_expression_over_several_lines(lesson: Lesson) -> None:
    sign = named(lesson, "sign", Predict)
    assert (sign.form, sign.answer, sign.tolerance) == ("sign", 'gradient["w"] + 0', 0.01)
    assert (sign.wrong, sign.choices) == ((), {})


def test_a_reach_says_what_may_be_changed_and_how_it_is_done(lesson: Lesson) -> None:
    reach = named(lesson, "reach-it", Reach)
    assert reach.condition == "losses[-1] < 1e-6"
    assert reach.may == ("learning_rate", "mode", "values", "seed")
    assert reach.solution == Solution(
        epochs=10,
        mode="autograd",
        learning_rate=0.125,
        seed=2,
        settings=(Setting("w", (), 1.0),),
    )


def test_a_solution_may_be_to_run_on(lesson: Lesson) -> None:
    waiting = named(lesson, "reach-by-waiting", Reach)
    assert waiting.solution == Solution(epochs=3)
    assert waiting.may == ("device", "seed")
    assert waiting.stage.at == StartPlace(2, "Predict")


def test_a_repair_may_be_of_a_phase_that_its_mode_has_no_code_for(lesson: Lesson) -> None:
    repair = named(lesson, "fix", Repair)
    assert (repair.phase, repair.stage.at) == ("Update", StartPlace(1, "Update"))
    assert repair.code == "# nothing yet\n"
    assert repair.solution_code == "\nw = w - learning_rate * dw\n"
    assert repair.symptom == Symptom(condition="w == 1", line=line_of("symptom:"))
    assert (repair.epochs, repair.condition) == (5, "w > 1")
    assert [s.phase for s in start_of(lesson, repair).lesson.loop("manual")][-1] == "Update"


def test_the_code_to_fix_may_be_missing_altogether(lesson: Lesson) -> None:
    repair = named(lesson, "fix-an-error", Repair)
    assert (repair.phase, repair.code, repair.solution_code) == ("Update", "", "w.grad = None")
    assert repair.symptom.error == "a leaf Variable"


def test_autograd_is_played_before_the_first_gradient(lesson: Lesson) -> None:
    be = named(lesson, "be-it", Backpropagate)
    assert be.stage == Stage(mode="autograd", at=StartPlace(1, "Gradient"))
    assert be.tolerance == 0.01


def test_one_of_the_choices_is_right(lesson: Lesson) -> None:
    assert named(lesson, "choose-one", Choose).choices == (
        Choice("The $w$", is_right=True),
        Choice("The second", reply="Why it is not so."),
        Choice("The third", reply="It is not this."),
    )


def test_the_line_of_an_exercise_is_that_of_its_fence(lesson: Lesson) -> None:
    fences = [n for n, line in enumerate(LINES, start=1) if line == "```yaml exercise"]
    assert [e.line for e in lesson.exercises] == fences


def test_every_key_has_its_line_in_the_file(lesson: Lesson) -> None:
    for exercise in lesson.exercises:
        for path, line in exercise.lines.items():
            key = path.rpartition(".")[2]
            assert line > exercise.line
            assert key.isdigit() or key in LINES[line - 1], (path, LINES[line - 1])


def test_the_parts_of_a_key_have_their_lines_too(lesson: Lesson) -> None:
    lines = named(lesson, "first-gradient", Predict).lines
    assert lines["wrong.1"] == lines["wrong.1.value"] == line_of('  - value: -gradient["w"]')
    assert lines["wrong.1.reply"] == lines["wrong.1"] + 1
    assert lines["again.1.ask"] == line_of("    ask: And from")
    assert lines["set.w"] == line_of("set: {w: 3")
    assert lines["hints.1"] == line_of("hints:")
    assert named(lesson, "choose-one", Choose).lines["choices.1"] == line_of("  - reply:")
    assert named(lesson, "reach-it", Reach).lines["solution.epochs"] == line_of("solution:")


def test_a_lesson_with_exercises_can_be_sent_to_another_process(lesson: Lesson) -> None:
    sent = msgspec.json.encode(lesson.sections)
    assert msgspec.json.decode(sent, type=tuple[Section, ...]) == lesson.sections


def test_nothing_is_said_of_modes_that_are_not_known() -> None:
    with pytest.raises(LessonDiagnostics) as caught:
        parse(SOURCE.replace("parameters:", "modes: []\nparameters:"), FILE)
    assert [diagnostic.line for diagnostic in caught.value.diagnostics] == [5]


def test_code_of_a_misspelt_mode_may_be_what_an_exercise_needs() -> None:
    with pytest.raises(LessonDiagnostics) as caught:
        parse(SOURCE.replace("```python autograd\nwith", "```python autogrd\nwith"), FILE)
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.fault.code == "unknown_mode"
    assert diagnostic.fault.values["word"] == "autogrd"


def test_another_fence_of_yaml_is_prose() -> None:
    text = SOURCE.replace("What comes before.\n", "```yaml\nask: [\n```\n```yaml example\n]\n```\n")
    prose = parse(text, FILE).sections[0].blocks[0]
    assert isinstance(prose, Prose)
    assert prose.markdown.startswith("```yaml\nask: [\n```")


def test_a_lesson_says_what_it_builds_on(lesson: Lesson, minimal: str) -> None:
    assert lesson.builds_on == ("one-weight", "line-through-origin")
    assert parse(minimal, FILE).builds_on == ()


@pytest.mark.parametrize(
    ("path", "language"),
    [("lessons/two.md", "en"), ("lessons/zh/two.md", "zh"), ("zh/more/two.md", "en")],
)
def test_the_folder_says_a_lessons_language(minimal: str, path: str, language: str) -> None:
    assert parse(minimal, Path(path)).language == language


def test_the_language_is_known_to_who_stands_in_the_folder(
    minimal: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "zh").mkdir()
    monkeypatch.chdir(tmp_path / "zh")
    assert parse(minimal, Path("two.md")).language == "zh"
