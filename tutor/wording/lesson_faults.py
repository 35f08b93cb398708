"""The sentences on what is wrong in a lesson's file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches

from tutor.plain import one_line
from tutor.wording.number_format import LEARNING_RATE, value_reason
from tutor.wording.templates import Values, Words, filled, modes_text

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
    "file_too_large": "the file is larger than 256 KB; a lesson is a few pages of text",
    "slug_taken": "another lesson is already named `{slug}`; rename this one",
    "no_path": "there is no file {name}{near:hint}",
    "no_lesson": "no lesson is named `{name}`{near:hint}",
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
        "bad YAML: {problem:problem}; write `key: value`, with 'single quotes' around a text with "
        "odd characters"
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
    "key_missing": "{within:mapping} lacks `{key}`; write `{key}: {example}`",
    "key_missing_in_front_matter": "the key `{key}` is missing; write `{key}: {example}`",
    "unknown_key": "unknown key `{word}` in {within:mapping}{known:did_you_mean}",
    "unknown_key_in_front_matter": "unknown key `{word}`{known:did_you_mean}",
    "key_elsewhere": "unknown key `{key}` in {within:mapping}; it belongs to `kind: {kind}`",
    "no_scalar": "`{name}` must be {wanted:scalar}, not a {found}; write `{name}: …`",
    "bad_scalar": "`{name}` must be {wanted:scalar}, not {written:quoted}",
    "unknown_word": "unknown `{word}` in `{name}`{known:did_you_mean}",
    "no_list": (
        "`{name}` must be a list, not a {found}; write `{name}:` and below it `  - …`, or "
        "`{name}: {example}`"
    ),
    "empty_list": "`{name}` must be a list, not empty; write `{name}: {example}`",
    "item_twice": "`{item}` is already in `{name}`, on line {first}; keep one of them",
    "no_mapping": "`{name}` must be a mapping; write `{name}: {example}`",
    "no_entry": "{within:mapping} must be a mapping; write `{{{example}}}`",
    "no_modes_below": "`{name}` is empty; write a value for each mode",
    "no_label": "`{name}` is not a label; write a word or two",
    "own_base": "`{slug}` is this lesson; write in `builds_on` what comes before it",
    # ── Modes
    "unknown_mode": "unknown mode `{word}`{known:did_you_mean}",
    "mode_not_in_modes": (
        "no mode runs this: `{mode}` is not in `modes`; add it there, or delete it here"
    ),
    "mode_without_code": "no code belongs to the mode `{mode}`; did you mean `{meant}`?",
    "silent_for_modes": "`{key}` has no value for {modes:modes}; write `  {first}: …`",
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
        "Python {heading:below} is in no phase and never runs; {phases:nearest}, or write ```text "
        "if it is only to be read"
    ),
    "empty_fence": "this fence is empty; write code in it, or delete it",
    "yaml_alone": "`{kind}` alone is shown, not asked; write ```yaml exercise",
    "nearly_an_exercise": "{written:quoted} is not an exercise; write ```yaml exercise",
    "nested_exercise": f"an exercise inside a list or a quote is not asked; {_TO_THE_LEFT}",
    # ── Formulas and code
    "formula_not_closed": "`$$` opens a formula that is never closed; write `$$` after it",
    "formula_does_not_parse": "the formula does not parse: {error:formula}",
    "formula_not_drawable": "the formula's {piece} can't be drawn; write it another way",
    "boxed_is_no_expression": (
        "`{expression}` in \\boxed is not a Python expression ({reason:why}); write one such as "
        "\\boxed{{w}}"
    ),
    "watched_is_no_expression": (
        "`{expression}`, watched as `{label}`, is not a Python expression ({reason:why}); write "
        "one such as `{label}: w * 2`"
    ),
    "unknown_parameter": "there is no parameter `{name}`{similar:hint_or_correct}",
    "unknown_name": "nothing is called `{name}`{similar:hint_or_correct}",
    "code_is_not_python": "this is not Python ({reason:why}); correct it",
    # ── Phases
    "no_code": "the lesson has no Python; write ```python fences under its phases",
    "no_phase": "no phase {phase}; write a heading ## {phase} and its code below",
    "phase_without_code": (
        "{phase} has no code for {modes:modes}; write ```python {words} with code such as "
        "`{example}`"
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
        "mode `{mode}` has no gradient: nothing assigns {names:each_quoted}; write `{first} = …` "
        "or `loss.backward()` under ## Gradient"
    ),
    "parameters_not_bound": (
        "Setup does not bind {names:each_quoted} in mode `{mode}`; write `{first} = …` under ## "
        "Setup, or correct `parameters`"
    ),
    "data_not_bound": (
        "`data` calls its {key} `{name}`, but {phase} binds no such name; write `{name} = …` under "
        "## {phase}, or correct `data`"
    ),
    # ── All exercises
    "id_twice": "`{id}` is the exercise on line {first}; write another",
    "text_with_colon": "`{name}` must be text; put 'single quotes' around it if it has a `:`",
    "display_formula_in_exercise": "a formula in an exercise must be within a line; write $…$",
    "no_expression": "`{name}` is not a Python expression ({reason:why}); correct it",
    "no_place": (
        "`at` must be EPOCH PHASE or EPOCH PHASE BATCH, not {written:quoted}; write `at: 1 "
        "gradient`"
    ),
    "place_in_setup": "Setup runs before anything else; leave `at` out to begin after it",
    "unknown_phase": "unknown phase `{word}`{known:did_you_mean}",
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
    "no_such_parameter": "`{word}` is not a parameter of mode `{mode}`{known:did_you_mean}",
    "no_such_parameter_in_set": (
        "`{word}` is not a parameter of mode `{mode}`{known:did_you_mean} (it is in `set`)"
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
    "no_such_phase": "there is no phase {word} here{known:did_you_mean}",
    "solution_is_empty": "`solution` must be Python code, not empty",
    "solution_is_the_mistake": "`solution` is the code with the mistake; fix it here",
    "mode_without_graph": (
        "mode `{mode}` has no graph: its code calls no backward(){others:write_mode}"
    ),
    "autograd_elsewhere": "autograd works in the phase Gradient; write `at: 1 gradient`",
    "number_of_choices": "there must be 2 to {most} choices, not {count}",
    "choice_twice": "another choice has the same text; write another text",
    "one_right_choice": "one choice must be right, not {right}; write `right: true` once",
    "reply_twice": "another choice has the same reply; write why this one is wrong",
    "no_reply": "this choice has no reply; write `reply: …`, why it is wrong",
    # ── The lessons beside it
    "unknown_prerequisite": "it builds on `{slug}`, which is not a lesson{lessons:hint_or_list}",
    "builds_on_itself": (
        "it builds on itself: {cycle:arrows}; take one of these out of `builds_on`"
    ),
    "no_original": (
        "this file, in {language}/, is a translation, but its original {original} is not there; "
        "write that lesson, or give this file the name of its original"
    ),
    "original_is_wrong": (
        "{original} can't be read as a lesson, so it can't be compared with this one; fix it first"
    ),
    "not_translated": "this is not translated: “{text}” is word for word that of {original}",
    "part_missing": "{part:part} is missing; copy it from {there} below this line",
    "part_differs": "{part:part} is not as in {there}; make it the same",
    "part_is_new": "{part:part} is not in {there}; delete it here",
    "part_elsewhere": "{part:part} is where {there} has {instead:part}",
}
"""The templates by code."""

_MISSING = ("no_file", "no_path", "no_lesson")
"""Codes of lessons that are not there."""
_LIST_OF_LESSONS = "; `tutor list` shows the lessons"

_INTO_ALIGNED = "put it into \\begin{{aligned}}…\\end{{aligned}}"

_FORMULA_ERRORS: Mapping[str, str] = {
    "empty": "the formula is empty",
    "formula_too_long": "the formula is longer than {most} characters",
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

_SCALARS: Mapping[str, str] = {
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
    return filled(_TEMPLATES[code], values, _WORDS)


def formula_error_text(code: str, values: Values) -> str:
    """The reason why a formula can't be read, on one line."""
    return filled(_FORMULA_ERRORS[code], values)


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


def _part(part: Sequence[object]) -> str:
    kind, *names = part
    return _PARTS[str(kind)].format(*names)


_WORDS: Words = {
    "did_you_mean": lambda known, values: _did_you_mean(values["word"], known),
    "scalar": lambda kind, values: filled(_SCALARS[kind], values),
    "mapping": lambda kind, values: filled(_WITHIN[kind], values),
    "quoted": lambda written, _: f"`{written}`" if written else "empty",
    "each_quoted": lambda names, _: _quoted(names),
    "problem": lambda problem, _: problem or "it can't be read",
    "modes": lambda modes, _: modes_text([f"`{mode}`" for mode in modes]),
    "write_mode": lambda modes, _: f"; write `mode: {modes[0]}`" if modes else "",
    "below": lambda heading, _: _heading(heading),
    "nearest": lambda phases, _: _nearest_phase(phases),
    "hint": lambda near, _: hint_of(near),
    "hint_or_list": lambda near, _: hint_of(near) or _LIST_OF_LESSONS,
    "hint_or_correct": lambda near, _: hint_of(near) or "; correct it",
    "arrows": lambda slugs, _: " → ".join(slugs),
    "part": lambda part, _: _part(part),
    "formula": lambda error, _: formula_error_text(*error),
    "why": lambda reason, _: value_reason(reason),
}
"""The words that the templates name after a colon."""
