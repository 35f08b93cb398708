"""What a learner types to set a number of a parameter."""

import pytest

from tutor.lesson.model import LARGEST_WHOLE
from tutor.protocol.frame import EPOCH_END, Element, Value
from tutor.wording import parameter_input
from tutor.wording.notices import unreadable

ONE = {"w": Value((0.3,), (), "float32")}
ONE_IN_A_ROW = {"w": Value((0.3,), (1, 1), "float32")}
MANY = {"w1": Value((0.1, 0.2, 0.3, 0.4), (2, 2), "float32"), "b": Value((0.0,), (1,), "float32")}

OF_A_SCRIPT = {
    label: Value((0.5,) * size, shape, "float32")
    for label, size, shape in (
        ("net.fc1.weight", 16, (8, 2)),
        ("net.fc2.bias", 1, (1,)),
        ("model[0].bias", 3, (3,)),
        ('params["w"]', 4, (2, 2)),
        ("weights[0]", 2, (2,)),
        ("weights[1]", 1, ()),
        ("w", 1, ()),
        ("w2", 1, ()),
    )
}


@pytest.mark.parametrize(
    ("typed", "values_", "wanted"),
    [
        ("1.5", ONE, Element("w", (), 1.5)),
        ("w = −2", ONE, Element("w", (), -2.0)),
        ("w=0,5", ONE, Element("w", (), 0.5)),
        ("3", ONE_IN_A_ROW, Element("w", (0, 0), 3.0)),
        ("w1[0, 1] = 1e-3", MANY, Element("w1", (0, 1), 1e-3)),
        (" w1 [1,1]= 4 ", MANY, Element("w1", (1, 1), 4.0)),
        ("b = 1", MANY, Element("b", (0,), 1.0)),
        ("-1/4", ONE, Element("w", (), -0.25)),
        ("w1[0, 0] = 2 * (1 - 3)", MANY, Element("w1", (0, 0), -4.0)),
        ("w1[0, 1] -3", MANY, Element("w1", (0, 1), -3.0)),
        ("w1[0,1]2", MANY, Element("w1", (0, 1), 2.0)),
        ("b 1/4", MANY, Element("b", (0,), 0.25)),
        ("w 2 * (1 - 3)", ONE, Element("w", (), -4.0)),
        ("sqrt (4)", ONE, Element("w", (), 2.0)),
        ("net.fc1.weight[7, 1] = 0.5", OF_A_SCRIPT, Element("net.fc1.weight", (7, 1), 0.5)),
        ("net.fc1.weight[7][1] .5", OF_A_SCRIPT, Element("net.fc1.weight", (7, 1), 0.5)),
        ("net.fc2.bias[0] = 2", OF_A_SCRIPT, Element("net.fc2.bias", (0,), 2.0)),
        (" net.fc2.bias  -2 ", OF_A_SCRIPT, Element("net.fc2.bias", (0,), -2.0)),
        ("model[0].bias[1] = 2", OF_A_SCRIPT, Element("model[0].bias", (1,), 2.0)),
        ("model[0].bias[1]2", OF_A_SCRIPT, Element("model[0].bias", (1,), 2.0)),
        ('params["w"][0,1] 3', OF_A_SCRIPT, Element('params["w"]', (0, 1), 3.0)),
        ("params[ 'w' ] [0, 1]=3", OF_A_SCRIPT, Element('params["w"]', (0, 1), 3.0)),
        ("weights[0][1] = 3", OF_A_SCRIPT, Element("weights[0]", (1,), 3.0)),
        ("weights[1] 3", OF_A_SCRIPT, Element("weights[1]", (), 3.0)),
        ("w 3", OF_A_SCRIPT, Element("w", (), 3.0)),
        ("w2=1/4", OF_A_SCRIPT, Element("w2", (), 0.25)),
    ],
)
def test_a_value_is_read(typed: str, values_: dict[str, Value], wanted: Element) -> None:
    assert parameter_input.read(typed, values_) == wanted


@pytest.mark.parametrize(
    ("typed", "values_", "words"),
    [
        ("", ONE, "Type it like this: w = 0.5"),
        ("much", ONE, "I can't read “much”"),
        ("v = 1", ONE, "No parameter v here. Parameters: w"),
        ("v 1", ONE, "No parameter v here. Parameters: w"),
        ("nan", ONE, "I can't read “nan”"),
        ("1/0", ONE, "divided by 0"),
        ("1.5", MANY, "Which one? Type it like this: w1[0, 0] = 0.5"),
        ("w1 = 1", MANY, "The elements of w1 are w1[0, 0] to w1[1, 1]"),
        ("w1[2, 0] = 1", MANY, "The elements of w1 are w1[0, 0] to w1[1, 1]"),
        ("w1[0] = 1", MANY, "The elements of w1 are"),
        ("w[0] = 1", ONE, "w is a single number: type it without an index."),
        ("w1[0, -1] = 1", MANY, "its shape is (2, 2)"),
        ("w1[0, :] = 1", MANY, "its shape is (2, 2)"),
        ("net.fc1.weight[8, 0] = 1", OF_A_SCRIPT, "its shape is (8, 2)"),
        (
            "model[0].bias = 1",
            OF_A_SCRIPT,
            "model[0].bias[0] to model[0].bias[2]: its shape is (3,)",
        ),
        ("weights[0] 3", OF_A_SCRIPT, "weights[0][0] to weights[0][1]"),
        ("net.fc1.weights[0, 0] = 1", OF_A_SCRIPT, "No parameter net.fc1.weights here. Par"),
        ("model[7].bias[0] 1", OF_A_SCRIPT, "No parameter model[7].bias here."),
        ("w.x = 1", OF_A_SCRIPT, "No parameter w.x here."),
        ("1.5", OF_A_SCRIPT, "Which one? Type it like this: net.fc1.weight[0, 0] = 0.5"),
        ("w", ONE, "Type it like this: w = "),
        ("w = [1", ONE, "I can't read “[1”"),
        ("w = ", ONE, "Type a value after =, like w = 0.5"),
        ("w1[0, 1]=", MANY, "Type a value after =, like w1[0, 1] = 0.5"),
        ("w1[0, 1]", MANY, "Type a value after =, like w1[0, 1] = 0.5"),
        ("w1 =", MANY, "Type a value after =, like w1[0, 0] = 0.5"),
        ("weights[0] =", OF_A_SCRIPT, "Type a value after =, like weights[0]"),
        ("= 1", ONE, "Type a parameter before =. Type it like this: w = 0.5"),
    ],
)
def test_what_can_not_be_read_is_told_with_an_example(
    typed: str, values_: dict[str, Value], words: str
) -> None:
    with pytest.raises(ValueError, match=r".") as error:
        parameter_input.read(typed, values_)
    assert words in str(error.value)


def test_what_can_not_be_read_comes_back_short_and_harmless() -> None:
    with pytest.raises(ValueError, match=r"^I can't read “\^\[\[31m") as caught:
        parameter_input.read("\x1b[31m" + "x" * 1000, ONE)
    assert len(str(caught.value)) < 100


@pytest.mark.parametrize(
    ("code", "typed", "words"),
    [
        (
            "no_sign",
            "maybe",
            "I can't read “maybe”. Type +, - or 0; or positive, negative or zero.",
        ),
        (
            "typed_not_finite",
            "1/(1-1)",
            "I can't read “1/(1-1)”. Its value is not a finite number.",
        ),
        (
            "no_typed_number",
            "",
            "Nothing was typed. Type a number, like 0.5, -3, 1/4, 1e-3 or log(3).",
        ),
        ("typed_too_large", "1e999", "That number is too large."),
    ],
)
def test_the_reason_why_an_answer_can_not_be_read(code: str, typed: str, words: str) -> None:
    assert unreadable(code, typed) == words


def test_the_question_names_the_number_and_what_it_is_now() -> None:
    assert parameter_input.question(ONE) == "A value for w (now 0.3):"
    assert "w1[0, 0] = 0.5" in parameter_input.question(MANY)


@pytest.mark.parametrize("typed", ["", "-1", "1.5", "x", "4", "9" * 5000, "٣"])
def test_a_whole_number_is_read_within_its_limits(typed: str) -> None:
    with pytest.raises(ValueError, match="is not a whole number from 0 to 3"):
        parameter_input.read_whole_number(typed, 0, 3)
    assert [parameter_input.read_whole_number(text, 0, 3) for text in ("0", " 3 ")] == [0, 3]


@pytest.mark.parametrize("typed", ["", "   ", "x" * 13, "七" * 7, "a\x1b"])
def test_a_run_has_a_short_printable_name(typed: str) -> None:
    with pytest.raises(ValueError, match=r"^A run's name .*\.$"):
        parameter_input.read_run_name(typed)
    assert parameter_input.read_run_name(" fast ") == "fast"
    assert parameter_input.read_run_name("七" * 6) == "七" * 6


def test_the_largest_seed_and_epoch_of_a_lesson_can_be_typed() -> None:
    typed = str(LARGEST_WHOLE)
    assert parameter_input.read_seed(typed) == LARGEST_WHOLE
    assert parameter_input.read_place(typed, []) == (LARGEST_WHOLE, EPOCH_END)


@pytest.mark.parametrize("name", OF_A_SCRIPT)
def test_the_example_for_each_parameter_can_be_typed(name: str) -> None:
    value = OF_A_SCRIPT[name]
    with pytest.raises(ValueError, match=r".") as error:
        parameter_input.read("", {name: value})
    example = str(error.value).removeprefix("Type it like this: ")
    wanted = Element(name, (0,) * len(value.shape), 0.5)
    assert parameter_input.read(example, OF_A_SCRIPT) == wanted


@pytest.mark.parametrize("folder", ["~no-such-user", "x" * 5000, "a\0b"])
def test_a_folder_that_can_not_be_is_refused(folder: str) -> None:
    with pytest.raises(ValueError, match="There is no folder"):
        parameter_input.read_path(f"{folder}/lesson.py")


STEPS = ("Loss", "Reset", "Gradient", "Update", "Report")


def test_a_place_of_a_script_is_a_step_or_a_phase_that_is_one() -> None:
    typed = ("40", "40 3", "40 loss", "40 UP", "0 loss")
    found = [parameter_input.read_step(text, STEPS) for text in typed]
    assert found == [(40, EPOCH_END), (40, 3), (40, 1), (40, 4), (0, EPOCH_END)]


@pytest.mark.parametrize(
    ("typed", "phases", "words"),
    [
        ("40 loss", (), "counted from 1 in every epoch"),
        ("40 loss", ("Loss", "Update", "Loss"), "1, 3"),
        ("40 re", STEPS, "2, 5"),
        ("40 nothing", STEPS, "the phases are loss, reset, gradient, update, report"),
        ("loss 40", STEPS, "12 3"),
        ("40 loss 2", STEPS, "12 3"),
        ("40 0", STEPS, "begin at 1"),
    ],
)
def test_a_place_that_is_not_one_step_is_refused(
    typed: str, phases: tuple[str, ...], words: str
) -> None:
    with pytest.raises(ValueError, match=r".") as error:
        parameter_input.read_step(typed, phases)
    assert words in str(error.value)
