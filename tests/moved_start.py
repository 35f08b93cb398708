"""Shipped lessons whose start is moved by float32's own uncertainty, as on another CPU."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from tests import shipped
from tutor.lesson.model import SETUP, Fence, Section
from tutor.training.program import Program, programs_of


def programs(slug: str, mode: str, draw: int) -> Mapping[str, Program]:
    """The program of a shipped lesson in `mode`, its start moved as the seed `draw` says."""
    lesson = shipped.lesson(slug)
    code = f"from tutor.validation.device_figures import move\nmove(globals(), {draw})\n"
    moving = Fence(code=code, line=lesson.sections[-1].line, modes=(mode,))

    def with_moved_setup(section: Section) -> Section:
        if section.phase != SETUP:
            return section
        return msgspec.structs.replace(section, blocks=(*section.blocks, moving))

    sections = tuple(map(with_moved_setup, lesson.sections))
    return programs_of(msgspec.structs.replace(lesson, sections=sections), [mode])
