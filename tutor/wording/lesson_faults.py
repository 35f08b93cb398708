"""The sentences on what is wrong in a lesson's file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, TypeAlias

from tutor.plain import one_line
from tutor.wording.number_format import LEARNING_RATE, value_reason

Values: TypeAlias = Mapping[str, Any]

_SINGLE = "write the text in 'single quotes', or below `|`"
_TO_THE_LEFT = "move it to the left margin"

_TEMPLATES: Mapping[str, str] = {
    # ── A file that can't be read or found
    "no_file": "there is no such file",
    "not_permitted": "you may not read it; change its permissions",
    "unreadable": "it can't be read ({words})",
    "is_empty": "the file is empty; begin it with front matter between --- lines",
    "not_utf8": "byte 0x{byte:02x} at offset {offset} is not UTF-8; save the file as UTF-8",
    "is_folder": "this is a folder; name a .md file in it",
    "not_plain_file": "this is not a plain file; name a .md file",
    "too_large": "the file is larger than 256 KB; a lesson is a few pages of text",
    "name_taken": "another lesson is already named `{slug}`; rename this one",
    "no_path": "there is no file {name}{near}",
    "no_lesson": "no lesson is named `{name}`{near}",
    "not_remembered": (
        "{file} can't be written ({words}): you will be asked about {name} again the next time"
    ),
    # ── The text
    "character_is_no_text": "the character {character!r} is not text; delete it",
    "no_front_matter": (
        "no front matter; begin the file with --- , keys such as `title: …`, and ---"
    ),
    "front_matter_not_closed": (
        "the front matter is not closed; write a line --- below its last key"
    ),
    # ── YAML
    "character_not_in_yaml": "the character {character!r} is not allowed here; delete it",
    "yaml_too_deep": "the YAML is nested too deeply; no key needs more than two levels",
    "no_keys": "the {block} is not a list of keys; write lines such as `{example}: …`",
    "bad_yaml": (
        "bad YAML: {problem}; write `key: value`, with 'single quotes' around a text with odd "
        "characters"
    ),
    "unknown_escape": (
        f"a backslash in double quotes begins an escape, and YAML lacks this one; {_SINGLE}"
    ),
    "latex_in_double_quotes": (
        f"double quotes make an escape of `{{escape}}` in `{{command}}`; {_SINGLE}"
    ),
    "odd_colon": "`：` is a {character}; write a plain `:` and a space",
    "odd_blank": (
        "there is an invisible {character} (U+{ordinal:04X}) in column {column}; write a plain "
        "space, or delete it"
    ),
    "not_indented": "indent the lines below `{key}: {mark}`",
    # ── Keys and values
    "key_is_no_word": "a key must be one word; write `key: value`",
    "key_twice": "the key `{key}` is already on line {first}; keep one of them",
    "key_missing": "{within} lacks `{key}`; write `{key}: {example}`",
    "key_missing_in_front_matter": "the key `{key}` is missing; write `{key}: {example}`",
    "unknown_key": "unknown key `{word}` in {within}{known}",
    "unknown_key_in_front_matter": "unknown key `{word}`{known}",
    "key_elsewhere": "unknown key `{key}` in {within}; it belongs to `kind: {kind}`",
    "no_scalar": "`{name}` must be {wanted}, not a {found}; write `{name}: …`",
    "bad_scalar": "`{name}` must be {wanted}, not {written}",
    "unknown_word": "unknown `{word}` in `{name}`{known}",
    "no_list": (
        "`{name}` must be a list, not a {found}; write `{name}:` and below it `  - …`, or "
        "`{name}: {example}`"
    ),
    "empty_list": "`{name}` must be a list, not empty; write `{name}: {example}`",
    "item_twice": "`{item}` is already in `{name}`, on line {first}; keep one of them",
    "no_mapping": "`{name}` must be a mapping; write `{name}: {example}`",
    "no_entry": "{within} must be a mapping; write `{{{example}}}`",
    "no_modes_below": "`{name}` is empty; write a value for each mode",
    "no_label": "`{name}` is not a label; write a word or two",
    "own_base": "`{slug}` is this lesson; write in `builds_on` what comes before it",
    # ── Modes
    "unknown_mode": "unknown mode `{word}`{known}",
    "mode_not_in_modes": (
        "no mode runs this: `{mode}` is not in `modes`; add it there, or delete it here"
    ),
    "mode_without_code": "no code belongs to the mode `{mode}`; did you mean `{meant}`?",
    "silent_for_modes": "`{key}` has no value for {modes}; write `  {first}: …`",
    # ── Headings and fences
    "nearly_a_phase": "this heading is almost a phase; write ## {meant}, or give it another name",
    "phase_twice": "the phase {phase} is already on line {first}; put its fences there",
    "fence_not_closed": "this fence is never closed; write ``` below its last line",
    "fence_not_closed_before": (
        "the fence on line {fence} is not closed before the next, on line {following}; write ``` "
        "below its last line"
    ),
    "code_of_other_kind": "code of the kind `{kind}` is not run; write ```python",
    "nested_code": f"Python inside a list or a quote is not run; {_TO_THE_LEFT}",
    "code_in_no_phase": (
        "Python {heading} is in no phase and never runs; {phases}, or write ```text if it is only "
        "to be read"
    ),
    "empty_fence": "this fence is empty; write code in it, or delete it",
    "yaml_alone": "`{kind}` alone is shown, not asked; write ```yaml exercise",
    "nearly_an_exercise": "{written} is not an exercise; write ```yaml exercise",
    "nested_exercise": f"an exercise inside a list or a quote is not asked; {_TO_THE_LEFT}",
    # ── Formulas and code
    "formula_not_closed": "`$$` opens a formula that is never closed; write `$$` after it",
    "formula_does_not_parse": "the formula does not parse: {error}",
    "formula_not_drawable": "the formula's {piece} can't be drawn; write it another way",
    "boxed_is_no_expression": (
        "`{expression}` in \\boxed is not a Python expression ({reason}); write one such as "
        "\\boxed{{w}}"
    ),
    "watched_is_no_expression": (
        "`{expression}`, watched as `{label}`, is not a Python expression ({reason}); write one "
        "such as `{label}: w * 2`"
    ),
    "unknown_parameter": "there is no parameter `{name}`{similar}",
    "unknown_name": "nothing is called `{name}`{similar}",
    "code_is_not_python": "this is not Python ({reason}); correct it",
    # ── Phases
    "no_code": "the lesson has no Python; write ```python fences under its phases",
    "no_phase": "no phase {phase}; write a heading ## {phase} and its code below",
    "phase_without_code": (
        "{phase} has no code for {modes}; write ```python {words} with code such as `{example}`"
    ),
    "synchronize_on_one_rank": (
        "only a lesson on several ranks has the phase Synchronize; write `workers: 2` in the front "
        "matter, or give the section another heading"
    ),
    "phases_out_of_order": (
        "{then} is below {first} here, and phases run in the order of the file; move ## {then} "
        "above ## {first}"
    ),
    "mode_without_gradient": (
        "mode `{mode}` has no gradient: nothing assigns {names}; write `{first} = …` or "
        "`loss.backward()` under ## Gradient"
    ),
    "parameters_not_bound": (
        "Setup does not bind {names} in mode `{mode}`; write `{first} = …` under ## Setup, or "
        "correct `parameters`"
    ),
    "data_not_bound": (
        "`data` calls its {key} `{name}`, but {phase} binds no such name; write `{name} = …` under "
        "## {phase}, or correct `data`"
    ),
    # ── All exercises
    "id_twice": "`{id}` is the exercise on line {first}; write another",
    "text_with_colon": "`{name}` must be text; put 'single quotes' around it if it has a `:`",
    "display_formula_in_exercise": "a formula in an exercise must be within a line; write $…$",
    "no_expression": "`{name}` is not a Python expression ({reason}); correct it",
    "no_place": (
        "`at` must be EPOCH PHASE or EPOCH PHASE BATCH, not {written}; write `at: 1 gradient`"
    ),
    "place_in_setup": "Setup runs before anything else; leave `at` out to begin after it",
    "unknown_phase": "unknown phase `{word}`{known}",
    "phase_not_run": "mode `{mode}` runs no phase {phase}; write one of: {runs}",
    "batch_0": "batches count from 1; write `at: 1 gradient 1`",
    "no_warm_up": "there is no epoch 0 without a `warm_up`; epochs count from 1",
    "no_report_in_warm_up": "there is no report in the warm-up; write an epoch from 1",
    "no_batch_of_report": (
        "there is no batch {batch} of the report, which comes once an epoch; leave it out"
    ),
    "no_batch_in_warm_up": ("there is no batch {batch} in the warm-up; write one from 1 to {most}"),
    "epoch_is_one_batch": "there is no batch {batch} where an epoch is one batch; leave it out",
    "no_batch_in_epoch": "there is no batch {batch} in an epoch; write one from 1 to {most}",
    "no_target": ("`{name}` is not the name of a number; write one such as `w: 3` or `W[0,1]: 3`"),
    "set_twice": "`{key}` is set twice; keep one of them",
    "no_such_parameter": "`{word}` is not a parameter of mode `{mode}`{known}",
    "no_such_parameter_in_set": (
        "`{word}` is not a parameter of mode `{mode}`{known} (it is in `set`)"
    ),
    # ── A kind of exercise
    "wrong_value_twice": "`{value}` is already in `wrong`; keep one of them",
    "working_too_long": "`working` is longer than {most} characters; shorten it",
    "working_of_nothing": (
        "`working` calculates nothing; write what gives the answer, such as `w * x`"
    ),
    "working_beside_choices": "`working` is only for a numeric answer; delete it",
    "form_beside_choices": "with `choices` the form is a choice; delete `form`, or `choices`",
    "form_without_choices": "a choice needs `choices`; write `choices: {{KEY: text, KEY: text}}`",
    "asks_the_same": "this asks for the same number again; change `at`, `set` or `seed`",
    "solution_may_not": ("the solution changes `{key}`, but `may` lacks `{word}`; add it there"),
    "symptom_of_one": (
        "`symptom` must have one of `error` and `condition`; write "
        "`{{error: part of the error's text}}` or `{{condition: loss > 1}}`"
    ),
    "no_such_phase": "there is no phase {word} here{known}",
    "solution_is_empty": "`solution` must be Python code, not empty",
    "solution_is_the_mistake": "`solution` is the code with the mistake; fix it here",
    "mode_without_graph": "mode `{mode}` has no graph: its code calls no backward(){others}",
    "autograd_elsewhere": "autograd works in the phase Gradient; write `at: 1 gradient`",
    "number_of_choices": "there must be 2 to {most} choices, not {count}",
    "choice_twice": "another choice has the same text; write another text",
    "one_right_choice": "one choice must be right, not {right}; write `right: true` once",
    "reply_twice": "another choice has the same reply; write why this one is wrong",
    "no_reply": "this choice has no reply; write `reply: …`, why it is wrong",
    # ── The lessons beside it
    "unknown_prerequisite": "it builds on `{slug}`, which is not a lesson{lessons}",
    "builds_on_itself": ("it builds on itself: {cycle}; take one of these out of `builds_on`"),
    "no_original": (
        "this file, in {language}/, is a translation, but its original {original} is not there; "
        "write that lesson, or give this file the name of its original"
    ),
    "original_is_wrong": (
        "{original} can't be read as a lesson, so it can't be compared with this one; fix it first"
    ),
    "not_translated": "this is not translated: “{text}” is word for word that of {original}",
    "part_missing": "{part} is missing; copy it from {there} below this line",
    "part_differs": "{part} is not as in {there}; make it the same",
    "part_is_new": "{part} is not in {there}; delete it here",
    "part_elsewhere": "{part} is where {there} has {instead}",
}
"""The templates by code."""

_MISSING = ("no_file", "no_path", "no_lesson")
"""Codes of lessons that are not there."""
_LIST_OF_LESSONS = "; `tutor list` shows the lessons"

_INTO_ALIGNED = "put it into \\begin{{aligned}}…\\end{{aligned}}"

_FORMULA_ERRORS: Mapping[str, str] = {
    "empty": "the formula is empty",
    "too_long": "the formula is longer than {most} characters",
    "too_deep": "the formula is nested more than {most} deep",
    "lone_backslash": "the formula ends in a lone backslash",
    "never_closed": "{opener} is never closed by {closer}",
    "not_open": "{closer} without {opener}",
    "other_is_open": "{closer} comes before the end of {opener}",
    "argument_missing": "{command} lacks an argument",
    "braces_missing": "{command} needs its argument in braces: {command}{{…}}",
    "delimiter_missing": "{command} needs a delimiter such as ( [ \\{{ | or . after it",
    "nothing_before": "{command} without anything before it",
    "nothing_after": "{command} without anything after it",
    "two_subscripts": "two subscripts on one base; write x_{{ij}} instead of x_i_j",
    "two_superscripts": "two superscripts on one base; write x^{{ab}} instead of x^a^b",
    "limits_without_script": "{command} must be followed by _ or ^",
    "limits_without_operator": "\\limits must follow an operator such as \\sum",
    "no_width": "{command}{{{width}}} is not a width; write {command}{{1em}}",
    "width_missing": "{command} needs a width after it: {command} 1em",
    "dollar_not_closed": "a $ in {command}{{…}} is never closed; a dollar sign is \\$",
    "boxed_is_empty": "\\boxed{{}} is empty: write a Python expression into it",
    "no_table": f"{{command}} outside of an environment; {_INTO_ALIGNED}",
    "table_is_not_inner": f"{{command}} inside {{opener}}; {_INTO_ALIGNED}",
    "hline_in_row": "\\hline must be at the beginning of a row, after \\\\",
    "unknown_environment": (
        "unknown environment {name!r}; there are aligned, cases, matrix, pmatrix, bmatrix, array "
        "and similar ones"
    ),
}
"""The templates of FormulaError by code."""

_WANTED: Mapping[str, str] = {
    "line": "one line of text",
    "number": "a finite number",
    "positive": "a finite number above 0",
    "whole": "a whole number from {least} to {most}",
    "rate": LEARNING_RATE,
    "name": "a Python name",
    "mode": "a mode's name (letters, digits, - and _)",
    "slug": "a lesson's name (its file's without .md)",
    "id": "letters, digits and - only",
    "truth": "true or false",
    "text": "text",
    "code": "Python code",
    "expression": "a Python expression on one line",
}
"""The words for the kinds of scalars."""

_WITHIN: Mapping[str, str] = {
    "key": "`{name}`",
    "entry": "an entry of `{name}`",
    "kind": "this `{name}`",
    "exercise": "this exercise",
}
"""The words for a mapping; the front matter has none."""

_PARTS: Mapping[str, str] = {
    "key": "`{}`",
    "phase": "the phase {}",
    "fence": "fence {} of {}",
    "boxed": "\\boxed {} of {}",
    "boxed outside": "\\boxed {} outside the phases",
    "exercise": "the exercise `{}`",
    "field": "`{}` of `{}`",
    "number of": "the number of `{}` of `{}`",
}
"""The words for the parts of a lesson that a translation has to repeat."""


def lesson_fault_text(code: str, values: Values, *, with_command: bool = False) -> str:
    """A fault as one line: its place, and the message.

    `with_command`: of a lesson that is not there also the command that lists them.
    """
    text = fault_message(code, values)
    if with_command and code in _MISSING:
        text += _LIST_OF_LESSONS.removeprefix(";" if text.endswith("?") else "")
    line = f":{values['line']}" if "line" in values else ""
    place = f"{values['path']}{line}: " if "path" in values else ""
    return one_line(place + text)


def fault_message(code: str, values: Values) -> str:
    """The problem and what to write instead, on one line."""
    if values.get("within") == "front matter":
        code = f"{code}_in_front_matter"
    made = {name: make(values) for name, make in _COMPOSED.items() if name in values}
    return one_line(_TEMPLATES[code].format_map({**values, **made}))


def formula_error_text(code: str, values: Values) -> str:
    """The reason why a formula can't be read, on one line."""
    return one_line(_FORMULA_ERRORS[code].format_map(values))


def hint_of(near: Sequence[str]) -> str:
    """The end of a sentence about an unknown name; empty if no name is near."""
    return f"; did you mean {' or '.join(f'`{name}`' for name in near)}?" if near else ""


def _did_you_mean(word: str, known: Sequence[str]) -> str:
    """`; did you mean …?` if a known word is near, else the list of what is known."""
    if near := get_close_matches(word, known, n=1):
        return f"; did you mean `{near[0]}`?"
    return f"; write one of: {', '.join(known)}"


def _quoted(words: Iterable[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)


def _heading(heading: str) -> str:
    return f"under the heading {heading!r}" if heading else "before the first heading"


def _nearest_phase(near: Sequence[str]) -> str:
    return f"write ## {near[0]}" if near else "move it below a phase such as ## Predict"


def _part(kind: str, *names: object) -> str:
    return _PARTS[kind].format(*names)


def _others(modes: Sequence[str]) -> str:
    return f"; write `mode: {modes[0]}`" if modes else ""


_COMPOSED: Mapping[str, Callable[[Values], str]] = {
    "known": lambda v: _did_you_mean(v["word"], v["known"]),
    "wanted": lambda v: _WANTED[v["wanted"]].format_map(v),
    "within": lambda v: _WITHIN.get(v["within"], "").format_map(v),
    "written": lambda v: f"`{v['written']}`" if v["written"] else "empty",
    "problem": lambda v: v["problem"] or "it can't be read",
    "modes": lambda v: f"mode{'s'[: len(v['modes']) - 1]} {_quoted(v['modes'])}",
    "names": lambda v: _quoted(v["names"]),
    "runs": lambda v: ", ".join(v["runs"]),
    "others": lambda v: _others(v["others"]),
    "heading": lambda v: _heading(v["heading"]),
    "phases": lambda v: _nearest_phase(v["phases"]),
    "near": lambda v: hint_of(v["near"]),
    "lessons": lambda v: hint_of(v["lessons"]) or _LIST_OF_LESSONS,
    "similar": lambda v: hint_of(v["similar"]) or "; correct it",
    "cycle": lambda v: " → ".join(v["cycle"]),
    "part": lambda v: _part(*v["part"]),
    "instead": lambda v: _part(*v["instead"]),
    "error": lambda v: formula_error_text(*v["error"]),
    "reason": lambda v: value_reason(v["reason"]),
}
"""The words for parameters, by their name."""
