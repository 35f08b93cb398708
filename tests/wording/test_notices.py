"""The catalogue of notices: a sentence for every code, for the screen and for plain mode."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import tutor
from tutor.errors import ProgressError
from tutor.plain_mode.exercise_text import TYPED
from tutor.session.attempt import CodePlace
from tutor.session.run_view import Notice
from tutor.ui.commands import KEYS
from tutor.wording import feedback, notices
from tutor.wording.notices import notice_text

FULL = ProgressError("not_kept", reason="disk_full", words="", file="/p")

CODE = re.compile(
    r"(Notice|Reply|(?:session|self)\.tell|tell_when_open|reject)\((?:text, )?\s*\"(\w+)\""
)


def test_every_code_in_the_sources_has_a_sentence_and_every_sentence_a_code() -> None:
    sources = [path.read_text("utf-8") for path in Path(tutor.__file__).parent.rglob("*.py")]
    used = {(kind, code) for source in sources for kind, code in CODE.findall(source)}
    replies = {code for kind, code in used if kind in ("Reply", "reject")}
    assert replies == set(feedback._REPLIES)
    made = set(notices._NOTICES) | set(notices._COMPOSED)
    assert {code for kind, code in used if kind not in ("Reply", "reject")} <= made
    text = "".join(sources)
    assert not [code for code in made if text.count(f'"{code}"') < 2]


def test_every_hint_names_a_command_of_the_screen_or_of_plain_mode() -> None:
    values = ("epoch", "further", "mode", "rate", "path", "reason", "target", "phase", "seconds",
              "name", "host", "device", "id", "key", "whose", "title", "text", "file",
              "place")  # fmt: skip
    parts = [part for templates in notices._NOTICES.values() for part in templates]
    named = {name for part in parts for name in re.findall(r"\{(\w+)", part)} - set(values)
    assert named <= set(KEYS) | set(TYPED)


@pytest.mark.parametrize(
    ("notice", "text"),
    [
        (Notice("progress_put_beside", {"why": None, "file": "/p", "beside": "/b"}),
         "progress is not saved: waiting for /p; the progress since then is in /b: "
         "`tutor progress import` adds it"),
        (Notice("progress_lost", {"why": FULL, "file": "/p", "beside": "/b", "reason": "full"}),
         "progress is not saved: the disk is full (/p); the progress since then is lost "
         "(full: /b)"),
        (Notice("target_reached", {"epoch": 8, "further": 16}),
         "Epoch 8 is reached · r again goes on to 16"),
        (Notice("beginning"), "This is the beginning · space goes on"),
        (Notice("phase_runs", {"phase": "Loss", "seconds": 3.2}),
         "Loss is still running (3 s) · x stops it"),
        (Notice("phase_failed", {"place": CodePlace("Loss", 31)}),
         "Loss failed, line 31 · R starts again"),
        (Notice("phase_failed", {"place": CodePlace("Loss", 31, "loss = 1 / 0")}),
         "Loss failed at loss = 1 / 0 · R starts again"),
        (Notice("stopped", {"place": CodePlace("Loss", 31), "is_undone": True}),
         "Stopped: Loss, line 31, was still running; its changes were undone"),
        (Notice("stopped", {"place": CodePlace("Update", 1, is_own=True), "is_undone": False}),
         "Stopped: Update was still running (line 1 of your code)"),
        (Notice("change_is_fixed", {"change": "mode", "allowed": ("learning_rate", "seed")}),
         "The gradient mode is fixed in this exercise"
         " · you may change the learning rate ([ ] l), the seed (S)"),
        (Notice("exercise_skipped", {"number": 1, "is_typing": True, "is_last": True,
                                     "to_do": [], "skipped": [1]}),
         "Exercise 1 is skipped · esc, then K takes that back"
         " · No exercise is open; 1 is skipped · A shows them · n: the next lesson"),
        (Notice("left_at_exercise", {"id": "a\x1b[31m"}),
         "You left this lesson at exercise a^[[31m · O takes you there"),
        (Notice(), ""),
    ],
)  # fmt: skip
def test_the_screen_names_keys(notice: Notice, text: str) -> None:
    assert notice_text(notice, KEYS) == text


def test_the_last_epoch_of_a_loop_names_its_way_on_by_keys_and_by_words() -> None:
    notice = Notice("script_target_reached", {"epoch": 8, "further": 9})
    for commands in (KEYS, TYPED):
        text = notice_text(notice, commands)
        assert commands["toggle_run"] in text.split()
        assert commands["step_epoch"] in text.split()
