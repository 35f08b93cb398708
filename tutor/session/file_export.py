"""Writing a lesson or its figures to a file that the learner names."""

from __future__ import annotations

from pathlib import Path

from tutor.session.run_view import RunView

SCRIPT, NOTEBOOK, FIGURES = ".py", ".ipynb", ".csv"


def suggestion(view: RunView, suffix: str = SCRIPT) -> str:
    """A name, in the folder where the tutor was started, that no file has yet."""
    from tutor.export import free_path  # noqa: PLC0415  lazy: the first paint comes before

    return free_path(Path(), view.lesson.slug, view.mode, suffix).name


def write(view: RunView, path: Path) -> Path:
    """Write the lesson as a script or a notebook. Raises RunError in words."""
    from tutor import export  # noqa: PLC0415  lazy, as above
    from tutor.export.code import ExportSettings  # noqa: PLC0415
    from tutor.export.formats import notebook, script  # noqa: PLC0415

    made = notebook if path.suffix == NOTEBOOK else script
    frame = view.frame
    settings = ExportSettings(
        device=view.device,
        learning_rate=frame.learning_rate if frame else None,
        epochs=max(view.goal, view.furthest),
        seed=frame.seed if frame else 0,
        changed=bool(view.changes),
    )
    return export.write(made(view.lesson, view.mode, settings), path)
