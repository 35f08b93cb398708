"""The nodes of a formula → boxes of aligned rows of text.

Each kind of node has a method of `Typesetter`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from tutor.formula import glyphs
from tutor.formula.box import (
    SCRIPT_STYLE,
    TEXT_STYLE,
    Box,
    Placed,
    Style,
    beside,
    blank,
    centred,
    column_box,
    compose,
    embraced,
    struck,
    table_box,
    text_box,
    visible,
)
from tutor.formula.nodes import (
    Accent,
    Brace,
    Fenced,
    Frac,
    Node,
    NodeKind,
    Phantom,
    Root,
    RowNode,
    Scripts,
    Stack,
    Styled,
    Sym,
    TableNode,
    TextNode,
    Unsupported,
    ValueNode,
    single,
)
from tutor.formula.spacing import (
    Spaced,
    is_negative,
    is_product,
    is_raised_twice,
    needs_parentheses,
    run_together,
    script_text,
    spaced,
    with_parentheses,
)


class Typesetter(msgspec.Struct, frozen=True):
    """Sets nodes as boxes, with given values, in Unicode or in ASCII."""

    values: Mapping[str, str]
    ascii: bool

    def box(self, node: Node, style: Style) -> Box:
        """The box of any node."""
        match node:
            case Sym(text) | TextNode(text):
                return text_box(self.shown(text))
            case RowNode(items):
                items = tuple(with_parentheses(items, lambda f: f.compact or style.script))
                return self.row(spaced(items, script=style.script, stacked=not style.script), style)
            case Frac():
                return self._frac(node, style)
            case Scripts():
                return self._scripts(node, style)
            case Stack():
                return self._stack(node, style)
            case Accent():
                return self._accent(node, style)
            case Fenced():
                return self._fenced(node, style)
            case TableNode():
                return self._table(node, style)
            case _:
                return self._other(node, style)

    def _other(self, node: Node, style: Style) -> Box:
        match node:
            case ValueNode(expression):
                return self._value(expression)
            case Unsupported(source):
                source = visible(source)
                return text_box(self.shown(source), "unsupported", source)
            case Root():
                return self._root(node, style)
            case Brace():
                return self._brace(node, style)
            case Phantom(body):
                return blank(self.box(body, style))
            case Styled(body, display):
                return self.box(body, Style(display=display, script=style.script))
            case _:
                return text_box("")

    def shown(self, text: str) -> str:
        """Text as it is shown: harmless, and in ASCII if need be."""
        text = visible(text)
        return glyphs.spell(text) if self.ascii else text

    # --- rows -----------------------------------------------------------------------------

    def row(self, items: Sequence[Spaced], style: Style) -> Box:
        """Nodes beside each other."""
        boxes: list[tuple[int, Box]] = []
        for item in items:
            box = self.box(item.node, style)
            if item.after_operator and is_negative(item.node, _line(box)):
                box = self._embrace("(", box, ")")
            gap = item.gap
            if self.ascii and not gap and boxes and run_together(_line(boxes[-1][1]), _line(box)):
                gap = 1
            boxes.append((gap, box))
        return beside(boxes)

    def _value(self, expression: str) -> Box:
        value = self.values.get(expression)
        if value is None:
            return text_box("?" if self.ascii else "□", "value", expression)
        lines = [self.shown(line) for line in value.splitlines()] or [""]
        boxes = [text_box(line, "value", expression) for line in lines]
        middle = (len(boxes) - 1) // 2
        box = compose([(row, 0, b) for row, b in enumerate(boxes)], middle)
        return embraced(box)

    # --- fractions and roots --------------------------------------------------------------

    def _frac(self, node: Frac, style: Style) -> Box:
        over, under = self.box(node.over, TEXT_STYLE), self.box(node.under, TEXT_STYLE)
        if node.bar and (node.compact or style.script):
            in_line = self._frac_in_line(node)
            if in_line.height == 1 or style.script:
                return in_line
        width = max(over.width, under.width, 1)
        if any(isinstance(single(n), Frac) for n in (node.over, node.under)):
            width += 2  # the outer of two bars is the longer one
        bar = text_box(("-" if self.ascii else "─") * width if node.bar else " " * width)
        placed: list[Placed] = [
            (-over.height, centred(over, width), over),
            (0, 0, bar),
            (1, centred(under, width), under),
        ]
        return embraced(compose(placed, 0))

    def _frac_in_line(self, node: Frac) -> Box:
        over = self.box(node.over, SCRIPT_STYLE)
        under = self.box(node.under, SCRIPT_STYLE)
        if needs_parentheses(node.over):
            over = self._embrace("(", over, ")")
        if needs_parentheses(node.under) or is_product(node.under):
            under = self._embrace("(", under, ")")
        return beside([(0, over), (0, text_box("/")), (0, under)])

    def _root(self, node: Root, style: Style) -> Box:
        body = self.box(node.body, Style(display=False, script=style.script))
        index = script_text(node.index, self._superscripts())
        body_box = self._radical(body, is_lined=node.is_lined)
        if node.index is None:
            return body_box
        if index is not None:
            return beside([(0, text_box(index)), (0, body_box)])
        raised = self.box(node.index, SCRIPT_STYLE)
        row = -raised.height if body_box.below == 0 else -raised.height - 1 + body_box.below
        placed: list[Placed] = [(row, 0, raised), (-body_box.baseline, raised.width, body_box)]
        return compose(placed, 0, above=body_box.above, below=body_box.below)

    def _radical(self, body: Box, *, is_lined: bool) -> Box:
        """A root sign with a line over the body; a single letter or number needs no line."""
        sign = text_box("\\" if self.ascii else "√")
        tall = body.height > 1
        if self.ascii and not tall:
            return beside([(0, text_box("sqrt(")), (0, body), (0, text_box(")"))])
        if body.width == 1 and not (tall or is_lined):
            return beside([(0, sign), (0, body)])
        if not tall:
            line = text_box("_" * body.width)
            return compose([(0, 0, sign), (-1, 1, line), (0, 1, body)], 0)
        corner, side, line_glyph = ("+", "|", "-") if self.ascii else ("┌", "│", "─")
        placed: list[Placed] = [(-body.baseline, 2, body), (body.depth, 0, sign)]
        for row in range(-body.baseline, body.depth + 1):
            placed.append((row, 1, text_box(side)))
        placed.append((-body.baseline - 1, 1, text_box(corner + line_glyph * body.width)))
        return embraced(compose(placed, 0))

    # --- scripts --------------------------------------------------------------------------

    def _superscripts(self) -> dict[str, str]:
        return glyphs.ASCII_SUPERSCRIPTS if self.ascii else glyphs.SUPERSCRIPTS

    def _subscripts(self) -> dict[str, str]:
        return {} if self.ascii else glyphs.SUBSCRIPTS

    def _scripts(self, node: Scripts, style: Style) -> Box:
        operator = single(node.base)
        if style.display and isinstance(operator, Sym) and operator.limits:
            return self._stack(Stack(node.base, under=node.sub, over=node.sup), style)
        base = self.box(node.base, style)
        is_in_line = base.height == 1 and is_raised_twice(node.base)
        if node.sup is not None and (is_negative(operator, _line(base)) or is_in_line):
            base = self._embrace("(", base, ")")
        return self._attach(base, node.sub, node.sup)

    def _attach(self, base: Box, sub: Node | None, sup: Node | None) -> Box:
        """Put scripts behind a base: on its row if all have glyphs, else lower and higher."""
        sub_text = script_text(sub, self._subscripts())
        sup_text = script_text(sup, self._superscripts())
        placed: list[Placed] = [(-base.baseline, 0, base)]
        column = base.width
        if sub is not None:
            box = text_box(sub_text) if sub_text else self.box(sub, SCRIPT_STYLE)
            top = base.below if sub_text or base.below else 1
            placed.append((top, column, box))
        if sup is not None:
            box = text_box(sup_text) if sup_text else self.box(sup, SCRIPT_STYLE)
            bottom = -base.above if sup_text or base.above else -1
            if sub_text and sup_text and not (base.above or base.below):
                column += len(sub_text)
            placed.append((bottom - box.height + 1, column, box))
        return compose(placed, 0, above=base.above, below=base.below)

    def _stack(self, node: Stack, style: Style) -> Box:
        if self._fits_beside(node, style):
            return self._attach(self.box(node.base, style), node.under, node.over)
        over = None if node.over is None else self.box(node.over, SCRIPT_STYLE)
        under = None if node.under is None else self.box(node.under, SCRIPT_STYLE)
        widest = max(b.width for b in (over, under) if b is not None)
        base = self._stretched(node.base, style, widest)
        width = max(base.width, widest)
        placed: list[Placed] = [(-base.baseline, centred(base, width), base)]
        if over is not None:
            placed.append((-base.baseline - over.height, centred(over, width), over))
        if under is not None:
            placed.append((base.depth + 1, centred(under, width), under))
        return embraced(compose(placed, 0))

    def _fits_beside(self, node: Stack, style: Style) -> bool:
        """Whether limits may be scripts: outside of display, or a short one that has glyphs."""
        base = single(node.base)
        if not isinstance(base, Sym) or not base.limits:
            return False
        if not style.display:
            return True
        under = script_text(node.under, self._subscripts())
        return node.over is None and under is not None and len(under) == 1

    def _stretched(self, node: Node, style: Style, width: int) -> Box:
        """The base of a stack; an arrow grows to the width of its label."""
        base = single(node)
        if isinstance(base, Sym) and base.text in ("→", "←"):
            name = "vec" if base.text == "→" else "back"
            return text_box(glyphs.wide_accent(name, width + 2, ascii=self.ascii))
        return self.box(node, style)

    # --- accents and braces ---------------------------------------------------------------

    def _accent(self, node: Accent, style: Style) -> Box:
        base_node = single(node.base)
        if isinstance(base_node, Scripts) and not node.below:
            letter = single(base_node.base)
            if isinstance(letter, Sym) and len(letter.text) == 1 and not self.ascii:
                accented = Accent(letter, node.name)
                return self._scripts(Scripts(accented, base_node.sub, base_node.sup), style)
        base = self.box(node.base, style)
        if node.name == "cancel":
            return self._cancelled(base)
        if node.below:
            line = text_box(("-" if self.ascii else "‾") * base.width)
            return self._over_or_under(base, line, below=True)
        combining = glyphs.COMBINING.get(node.name)
        if base.width == 1 and base.height == 1 and combining and not (self.ascii or base.marks):
            return text_box(visible(base.rows[0] + combining))
        if self.ascii and node.name in glyphs.ASCII_ACCENTS and isinstance(base_node, Sym):
            return beside([(0, base), (0, text_box(glyphs.ASCII_ACCENTS[node.name]))])
        mark = text_box(glyphs.wide_accent(node.name, base.width, ascii=self.ascii))
        return self._over_or_under(base, mark, below=False)

    def _cancelled(self, base: Box) -> Box:
        """A body struck out: each character where it is one row, else marked in words."""
        if self.ascii or base.height > 1 or base.marks:
            return beside([(0, text_box("cancel")), (0, self._embrace("(", base, ")"))])
        return text_box(struck(base.rows[0]))

    def _over_or_under(self, base: Box, mark: Box, *, below: bool) -> Box:
        width = max(base.width, mark.width)
        row = base.depth + 1 if below else -base.baseline - mark.height
        placed: list[Placed] = [
            (-base.baseline, centred(base, width), base),
            (row, centred(mark, width), mark),
        ]
        return compose(placed, 0, above=base.above, below=base.below)

    def _brace(self, node: Brace, style: Style) -> Box:
        base = self.box(node.base, style)
        width = max(base.width, 3)
        drawn = ("\\-v/", "/-^\\") if self.ascii else ("╰─┬╯", "╭─┴╮")
        left, line, middle, right = tuple(drawn[node.over])
        half = (width - 3) // 2
        text = left + line * half + middle + line * (width - 3 - half) + right
        return embraced(self._over_or_under(base, text_box(text), below=not node.over))

    # --- delimiters -----------------------------------------------------------------------

    def _fenced(self, node: Fenced, style: Style) -> Box:
        inner = single(node.body)
        if not isinstance(inner, TableNode):
            return self._embrace(node.opening, self._parted(inner, style), node.closing)
        pointed = node.opening in glyphs.POINTED or node.closing in glyphs.POINTED
        body = self._table(inner, style, middle=pointed)
        return self._embrace(node.opening, body, node.closing, pad=True)

    def _table(self, table: TableNode, style: Style, *, middle: bool = False) -> Box:
        inner = Style(display=table.display, script=style.script)
        return table_box(
            table, lambda cell, _: self.box(cell, inner), ascii=self.ascii, middle=middle
        )

    def _parted(self, body: Node, style: Style) -> Box:
        r"""The body of delimiters; a \middle one in it is as tall as all of it."""
        box, items = self.box(body, style), body.items if isinstance(body, RowNode) else ()
        has_middle = any(isinstance(i, Sym) and i.kind is NodeKind.MIDDLE for i in items)
        if not has_middle or box.height == 1:
            return box
        parts: list[tuple[int, Box]] = []
        for item in spaced(items, script=style.script):
            if isinstance(item.node, Sym) and item.kind is NodeKind.MIDDLE:
                parts.append((item.gap, self._delimiter(item.node.text, box.above, box.below)))
            else:
                parts.append((item.gap, self.box(item.node, style)))
        return beside(parts)

    def _embrace(self, opening: str, body: Box, closing: str, *, pad: bool = False) -> Box:
        """A body between delimiters as tall as it is, its raised and lowered scripts apart."""
        above, below = body.above, body.below
        if (above or below) and (opening in glyphs.POINTED or closing in glyphs.POINTED):
            above, below = max(above, 1), max(below, 1)
        gap = int(pad and bool(above or below))
        boxes: list[tuple[int, Box]] = []
        if opening:
            boxes.append((0, self._delimiter(opening, above, below)))
        boxes.append((gap if opening else 0, body))
        if closing:
            boxes.append((gap, self._delimiter(closing, above, below)))
        return beside(boxes)

    def _delimiter(self, symbol: str, above: int, below: int) -> Box:
        rows = glyphs.tall_delimiter(symbol, above, below, ascii=self.ascii)
        return column_box(rows, above) if len(rows) > 1 else text_box(rows[0])


def _line(box: Box) -> str:
    return box.rows[box.baseline]
