"""All drawings by what they are of: the one door to them for a pane, which opens it late.

Loading them takes longer than the first paint may; until there is something to draw, a
pane does without.
"""

from __future__ import annotations

from tutor.protocol.inspections import ContourPicture, DataPicture, PlanePicture, SlopePicture
from tutor.ui.plots import contour, data, loss, plane, slope
from tutor.ui.plots.loss import Losses
from tutor.ui.plots.sheet import Drawing, Sheet

__all__ = ["Losses", "draw_losses", "draw_picture", "is_log"]

draw_losses, is_log = loss.draw, loss.is_log


def draw_picture(
    picture: DataPicture | SlopePicture | ContourPicture | PlanePicture, sheet: Sheet
) -> Drawing:
    """The picture on a sheet of cells."""
    match picture:
        case DataPicture():
            return data.draw(picture, sheet)
        case SlopePicture():
            return slope.draw(picture, sheet)
        case ContourPicture():
            return contour.draw(picture, sheet)
        case PlanePicture():
            return plane.draw(picture, sheet)
