"""Every command of the app, defined once: its key, its words and its action.

Bindings, footer, help screen and command palette are all made from these.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec
from textual.binding import Binding

KEY_NAMES = {
    "escape": "esc",
    "question_mark": "?",
    "exclamation_mark": "!",
    "slash": "/",
    "left": "←",
    "right": "→",
    "up": "↑",
    "down": "↓",
    "pageup": "PgUp",
    "pagedown": "PgDn",
    "home": "Home",
    "end": "End",
}
"""The names of keys on the screen, where they differ from Textual's."""


class AppCommand(msgspec.Struct, frozen=True):
    """One command that the learner can give."""

    name: str
    """An identifier, unique on its screen."""
    keys: tuple[str, ...]
    """The first key is the one shown."""
    label: str
    """A word or two for the footer."""
    help: str
    """A short sentence for the help screen and the palette."""
    action: str
    """Textual's action string."""
    rank: int | None = None
    """Its place in the footer, the smallest first (equal ones in this order); None keeps it out."""
    priority: bool = False
    """Whether the command comes before the focused widget's own use of the key."""
    where: str = ""
    """The pane that must have the focus, such as `in the code`; empty for the whole screen."""

    @property
    def key_label(self) -> str:
        """The key as the learner reads it."""
        return KEY_NAMES.get(self.keys[0], self.keys[0])


def _session(name: str, key: str, label: str, text: str, rank: int | None = None) -> AppCommand:
    return AppCommand(name, (key,), label, text, f"screen.session('{name}')", rank)


def _of_exercise(name: str, key: str, label: str, text: str, rank: int) -> AppCommand:
    return AppCommand(name, (key,), label, text, f"screen.of_exercise('{name}')", rank)


QUIT_AT_ONCE = AppCommand(
    "quit_at_once", ("ctrl+q",), "quit", "Quit, also while you type", "app.quit", priority=True
)
SUSPEND = AppCommand(
    "suspend", ("ctrl+z",), "suspend", "To the shell, until fg", "app.suspend_process"
)

RECONNECT = AppCommand(
    "reconnect", ("C",), "reconnect", "Connect again if the line is cut", "screen.reconnect", 0
)
"""The command for a lost connection to another machine; in the footer while it is lost."""

LESSON_COMMANDS = (
    _session("step_phase", "space", "phase", "Next phase, or pause the run", 1),
    _session("step_epoch", "s", "epoch", "To the end of an epoch", 2),
    AppCommand("operation", ("i",), "inside", "One operation of backward", "screen.operation", 20),
    _session("back_phase", "b", "back", "Back one phase", 3),
    _session("back_epoch", "B", "back epoch", "Back to the epoch's start", 12),
    _session("toggle_run", "r", "run", "Run to the last epoch; pause", 4),
    _session("restart", "R", "restart", "Start again, same weights", 11),
    _session("new_seed", "S", "new seed", "Start again with a new seed", 23),
    _session("reseed", "z", "reseed", "A new seed from here on"),
    _session("next_mode", "g", "gradient", "Next gradient mode", 5),
    _session("previous_mode", "G", "gradient back", "Previous gradient mode"),
    _session("next_device", "d", "device", "Next device", 9),
    _session("lower_learning_rate", "[", "lr down", "Learning rate down (1-2-5)", 13),
    _session("raise_learning_rate", "]", "lr up", "Learning rate up (1-2-5)", 14),
    AppCommand("ask_learning_rate", ("l",), "lr", "Type a learning rate", "app.ask('lr')", 12),
    AppCommand("value", ("w",), "value", "Set a parameter's value", "app.ask('value')", 22),
    AppCommand("timeline", ("t",), "time", "Time travel along the run", "screen.timeline", 15),
    AppCommand("jump", ("j",), "jump", "Jump to an epoch and phase", "app.ask('place')", 16),
    _session("fork", "f", "fork", "Keep this run, fork a copy", 17),
    AppCommand("runs", ("F",), "runs", "Runs: name, compare, delete", "screen.runs", 18),
    AppCommand("compare", ("c",), "compare", "All modes side by side", "screen.compare", 9),
    AppCommand(
        "doctor", ("exclamation_mark",), "doctor", "Mistakes in this code", "screen.doctor", 28
    ),
    AppCommand("plot", ("v",), "plot", "Next plot", "screen.turn_plot(1)", 11),
    AppCommand("plot_back", ("V",), "plot back", "Previous plot", "screen.turn_plot(-1)"),
    AppCommand(
        "difference", ("D",), "diff", "Show another mode's code", "screen.turn_difference", 21
    ),
    AppCommand("export", ("e",), "export", "Write script, notebook, CSV", "app.ask('file')", 19),
    AppCommand("stop", ("x",), "stop", "Stop what is running", "screen.stop", 24),
    AppCommand("next_lesson", ("n",), "next", "Next lesson", "app.turn_lesson(1)", 25),
    AppCommand("previous_lesson", ("p",), "previous", "Previous lesson", "app.turn_lesson(-1)", 26),
    _session("resume_previous", "O", "resume", "Resume where you left off"),
    RECONNECT,
    AppCommand("menu", ("m",), "lessons", "The menu of lessons", "app.menu", 10),
    AppCommand("map", ("M",), "map", "The map: what builds on what", "app.map", 27),
    AppCommand("theme", ("T",), "theme", "Next theme: colours", "app.turn_theme"),
    AppCommand("palette", ("ctrl+p",), "commands", "Search all commands", "app.command_palette"),
    AppCommand("help", ("question_mark",), "help", "This page: all keys", "app.help", 7),
    SUSPEND,
    AppCommand("quit", ("q",), "quit", "Quit", "app.quit", 8),
    QUIT_AT_ONCE,
)

EXERCISE_COMMANDS = (
    AppCommand("exercise", ("a",), "exercise", "Exercise: begin, answer", "screen.exercise", 1),
    AppCommand("edit", ("o",), "edit", "Edit the code of a repair", "screen.edit", 2),
    _of_exercise("hint", "h", "hint", "A hint", 3),
    _of_exercise("show_solution", "H", "solution", "The solution, after a try", 4),
    _of_exercise("skip", "k", "I know this", "I know this: the next one", 5),
    AppCommand(
        "unskip", ("K",), "skip back", "Take the last skip back", "screen.controller('unskip')"
    ),
    AppCommand("leave", ("escape",), "leave", "Leave field, then exercise",
            "screen.leave", 6, priority=True),
    AppCommand("exercises", ("A",), "exercises", "All exercises of this lesson",
            "screen.exercises"),
    AppCommand("interrupt", ("ctrl+c",), "stop", "Like x, but works while you type", "screen.stop",
            priority=True),
)  # fmt: skip
"""The ranks apply in the footer during an exercise."""

FIELD_COMMANDS = (
    AppCommand("submit", ("enter",), "answers", "Give the answer", "submit", 1, where="in a field"),
    AppCommand("look", ("tab",), "the other panes, and back", "", "app.focus_next", 2),
    AppCommand("leave", ("escape",), "then: the other keys", "", "screen.leave", 3),
)
"""The footer's commands while the learner types: all other keys are text."""

PANE_TITLES = {
    "formula": "Formula",
    "code": "Code",
    "numbers": "Numbers",
    "plot": "Plot",
    "output": "Output",
    "ladder": "Who does what",
    "graph": "Graph",
    "exercise": "Exercise",
}
"""The title of each pane by its id, in the order of the keys that show the panes."""

PANE_COMMANDS = tuple(
    AppCommand(f"pane_{id}", (str(i),), title.lower(), f"Pane: {title}", f"screen.show('{id}')")
    for i, (id, title) in enumerate(PANE_TITLES.items(), 1)
)

RUNS_COMMANDS = (
    AppCommand("up", ("up", "k"), "above", "The run above", "screen.choose(-1)"),
    AppCommand("down", ("down", "j"), "below", "The run below", "screen.choose(1)"),
    AppCommand("take", ("enter",), "continue", "Continue the chosen run", "screen.take", 1),
    AppCommand("then", ("t",), "then", "Show its figures as “then”", "screen.compare", 2),
    AppCommand("rename", ("n",), "name", "Give it another name", "screen.rename", 3),
    AppCommand("delete", ("d",), "delete", "Delete it", "screen.delete", 4),
    AppCommand("fork", ("f",), "fork", "Keep the current run, continue a copy", "screen.fork", 5),
    AppCommand("close", ("escape", "F", "q", "ctrl+c"), "close", "Close", "screen.dismiss", 6,
            priority=True),
)  # fmt: skip


DOCTOR_COMMANDS = (
    AppCommand("up", ("up", "k"), "above", "The finding above", "screen.choose(-1)"),
    AppCommand("down", ("down", "j"), "below", "The finding below", "screen.choose(1)"),
    AppCommand("open", ("enter",), "its lesson", "The lesson that explains it", "screen.open", 1),
    AppCommand("taught", ("t",), "taught, too", "Mistakes that the lesson makes on purpose, too",
            "screen.taught", 2),
    AppCommand("close", ("escape", "exclamation_mark", "x", "q", "ctrl+c"), "close", "Close",
            "screen.close", 3, priority=True),
)  # fmt: skip


def _in_pane(where: str, *entries: tuple[str, str, str, str]) -> tuple[AppCommand, ...]:
    """Commands of one pane: name, key, label and action of each."""
    return tuple(
        AppCommand(name, (key,), label, f"{label[0].upper()}{label[1:]}", action, where=where)
        for name, key, label, action in entries
    )


CODE_COMMANDS = _in_pane(
    "in the code",
    ("next_name", "right", "next name and its details", "name(1)"),
    ("previous_name", "left", "previous name", "name(-1)"),
    ("name_below", "down", "next name below", "line(1)"),
    ("name_above", "up", "next name above", "line(-1)"),
    ("no_name", "backspace", "leave the names", "no_name"),
)

GRAPH_COMMANDS = _in_pane(
    "in the graph",
    ("line_up", "up", "line above", "choose(-1)"),
    ("line_down", "down", "line below", "choose(1)"),
    ("fold", "enter", "fold, unfold a branch", "fold"),
)

EXERCISE_PANE_COMMANDS = _in_pane(
    "in the exercise",
    ("choice", "1", "… 9 picks an answer", "number(1)"),
    ("choice_above", "up", "answer above", "choice(-1)"),
    ("choice_below", "down", "answer below", "choice(1)"),
    ("enter", "enter", "answers, goes on", "enter"),
)

TIMELINE_COMMANDS = _in_pane(
    "in time",
    ("epoch_back", "left", "epoch back", "by(-1)"),
    ("epoch_on", "right", "epoch on", "by(1)"),
    ("phase_back_in_time", "up", "phase back", "phase(-1)"),
    ("phase_on", "down", "phase on", "phase(1)"),
    ("tenth_back", "pageup", "a tenth back", "page(-1)"),
    ("tenth_on", "pagedown", "a tenth on", "page(1)"),
    ("first", "home", "start", "to(0)"),
    ("last", "end", "end", "to(-1)"),
    ("stay", "enter", "stay", "leave(True)"),
)

EXERCISES_COMMANDS = (
    *(AppCommand(f"digit_{i}", (str(i),), str(i), "", f"screen.digit({i})") for i in range(10)),
    AppCommand("up", ("up",), "above", "The exercise above", "screen.choose(-1)"),
    AppCommand("down", ("down",), "below", "The exercise below", "screen.choose(1)"),
    AppCommand("begin", ("enter", "a"), "begin", "Begin the chosen exercise", "screen.begin", 1),
    AppCommand("close", ("escape", "A", "q", "ctrl+c"), "close", "Close", "screen.dismiss", 2,
            priority=True),
)  # fmt: skip

EDITOR_COMMANDS = (
    AppCommand("run_code", ("ctrl+s", "ctrl+r"), "run it", "Run the code: does it work now?",
            "screen.run_code", 1, priority=True),
    AppCommand("close", ("escape",), "back", "Back to the lesson; your text is kept",
            "screen.close", 2, priority=True),
    AppCommand("hint", ("ctrl+g",), "hint", "A hint", "screen.hint", 3, priority=True),
    AppCommand("undo", ("ctrl+z",), "undo", "Undo", "screen.undo", 6),
    AppCommand("redo", ("ctrl+y",), "redo", "Redo", "screen.redo", 7),
    AppCommand("original", ("ctrl+o",), "original", "The code as first given",
            "screen.original", 5, priority=True),
    AppCommand("task", ("ctrl+t",), "scroll", "Focus the question, the code around it, your code",
            "screen.turn_focus", 4, priority=True),
    AppCommand("copy", ("ctrl+c",), "copy", "Copy what is selected", "screen.copy"),
    QUIT_AT_ONCE,
    AppCommand("palette", ("ctrl+p",), "commands", "Search all commands", "app.command_palette"),
)  # fmt: skip

JUDGING_COMMANDS = (AppCommand("close", ("escape",), "stops it", "", "screen.close", 1),)
"""The editor's footer while the code runs: no other key does anything."""

_LIST_COMMANDS = (
    AppCommand("up", ("up", "k"), "above", "The lesson above", "screen.choose(-1)"),
    AppCommand("down", ("down", "j"), "below", "The lesson below", "screen.choose(1)"),
    AppCommand("page_up", ("pageup",), "page up", "A page of lessons up", "screen.page(-1)"),
    AppCommand("page_down", ("pagedown",), "page down", "A page of lessons down", "screen.page(1)"),
    AppCommand("first", ("home",), "first", "The first lesson", "screen.end(False)"),
    AppCommand("last", ("end",), "last", "The last lesson", "screen.end(True)"),
    AppCommand("open", ("enter",), "open", "Open it where you left it",
            "screen.open_chosen", 1),
    AppCommand("drill", ("a",), "exercises", "Fast track: only its exercises",
            "screen.open_chosen(True)", 2),
)  # fmt: skip

_GENERAL_COMMANDS = (
    AppCommand("resume", ("O",), "resume", "Resume where you left off", "app.resume", 4),
    AppCommand("theme", ("T",), "theme", "Next theme: colours, contrast", "app.turn_theme", 9),
    AppCommand("palette", ("ctrl+p",), "commands", "Search all commands", "app.command_palette"),
    AppCommand("help", ("question_mark",), "help", "All keys", "app.help", 6),
    SUSPEND,
    AppCommand("quit", ("q", "ctrl+c"), "quit", "Quit", "app.quit", 7),
    QUIT_AT_ONCE,
)

MENU_COMMANDS = (
    *_LIST_COMMANDS,
    AppCommand("find", ("slash",), "find", "Search lessons", "screen.find", 5),
    AppCommand("map", ("M",), "map", "The map: what builds on what", "app.map", 3),
    AppCommand("back", ("escape", "m"), "back", "Back to the open lesson", "screen.back", 8),
    *_GENERAL_COMMANDS,
)

FIND_COMMANDS = (
    AppCommand("open", ("enter",), "opens", "", "submit", 1),
    AppCommand("up", ("up",), "↓ choose", "", "screen.choose(-1)", 2),
    AppCommand("back", ("escape",), "lists all", "", "screen.back", 3),
)
"""The footer during a search for lessons: letters are text."""

MAP_COMMANDS = (
    *_LIST_COMMANDS,
    AppCommand("menu", ("m",), "lessons", "The menu of lessons", "app.menu", 5),
    AppCommand("back", ("escape", "M"), "back", "Back to where you came from", "app.leave_map", 3),
    *_GENERAL_COMMANDS,
)

_NAMED = (
    *MENU_COMMANDS,
    *(command for command in RUNS_COMMANDS if command.name == "delete"),
    *LESSON_COMMANDS,
    *EXERCISE_COMMANDS,
)
_KEY_OF = {command.name: command.key_label for command in _NAMED}
KEYS: Mapping[str, str] = {
    **_KEY_OF,
    "answer": _KEY_OF["exercise"],
    "leave_field": _KEY_OF["leave"],
}
"""The key of each command that a notice may name; the wording puts them into its templates."""


NOT_FOR_SCRIPTS = frozenset(
    [
        *("next_mode", "previous_mode", "next_device", "compare", "difference"),
        *("next_lesson", "previous_lesson", "pane_exercise"),
        *(c.name for c in EXERCISE_COMMANDS if c.name != "interrupt"),
        *(c.name for c in EXERCISE_PANE_COMMANDS),
    ]
)
"""The commands that help, palette and footer leave out for a learner's own script.

Their keys say why they do nothing.
"""


def bindings(commands: Iterable[AppCommand]) -> list[Binding]:
    """Textual's bindings of the commands."""
    return [
        Binding(
            key, c.action, c.label, show=c.rank is not None, priority=c.priority, tooltip=c.help
        )
        for c in commands
        for key in c.keys
    ]


GAP = 2
"""Cells between two commands of the footer."""


def footer(
    commands: Iterable[AppCommand], width: int, first: Iterable[AppCommand] = ()
) -> list[AppCommand]:
    """The commands that fit whole into `width` cells, the most needed first.

    Those of `first` come before all others.
    """
    chosen: list[AppCommand] = []
    used = 0
    for command in (*_ranked(first), *_ranked(commands)):
        cells = len(command.key_label) + 1 + len(command.label)
        needed = used + cells + (GAP if chosen else 0)
        if needed > width:
            break
        chosen.append(command)
        used = needed
    return chosen


def _ranked(commands: Iterable[AppCommand]) -> list[AppCommand]:
    return sorted((c for c in commands if c.rank is not None), key=lambda c: c.rank or 0)
