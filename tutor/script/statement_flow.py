"""The statements of one piece of code in the file's order, and who gives a variable its value."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence

from tutor.script.data_flow import blocks_of, is_compound, is_whole, reads, writes
from tutor.script.syntax_nodes import FUNCTIONS, LOOPS, LoopCode

_HEADLESS = (ast.With, ast.AsyncWith, ast.Try, ast.TryStar, ast.Match, ast.AsyncFor)


class StatementFlow:
    """The statements of a loop's body or of a function, those of inner functions left out."""

    def __init__(self, body: list[ast.stmt]) -> None:
        self._blocks: dict[ast.stmt, tuple[int, ...]] = {}
        self.loops: dict[ast.stmt, tuple[LoopCode, ...]] = {}
        """By statement: the loops that it stands in, the outermost first."""
        self._add(body, (), ())
        self.position = {node: at for at, node in enumerate(self._blocks)}
        self.simple = [n for n in self._blocks if not is_compound(n) or isinstance(n, ast.If)]
        """The simple statements, and the `if`s, which stand for their conditions."""
        self.heads = [n for n in self._blocks if not isinstance(n, _HEADLESS)]
        """These, and the loops, which stand for their heads."""

    def _add(
        self, block: Sequence[ast.stmt], around: tuple[int, ...], loops: tuple[LoopCode, ...]
    ) -> None:
        for node in block:
            self._blocks[node], self.loops[node] = around, loops
            for inner in sorted(blocks_of(node), key=lambda b: b[0].lineno):
                is_sure = isinstance(node, ast.With | ast.Try)
                deeper = (*loops, node) if isinstance(node, LOOPS) and inner is node.body else loops
                self._add(inner, around if is_sure else (*around, id(inner)), deeper)

    def writers(self, node: ast.stmt, names: Iterable[str]) -> list[ast.stmt]:
        """The simple statements before a statement that its variables come from, nearest first."""
        return self._collected(list(self._blocks)[: self.position[node]], names, node)

    def writers_behind(self, node: ast.stmt, names: Iterable[str]) -> list[ast.stmt]:
        """The statements behind it that its variables come from, from the pass before."""
        return self._collected(list(self._blocks)[self.position[node] + 1 :], names, node)

    def _collected(
        self, nodes: list[ast.stmt], names: Iterable[str], reader: ast.stmt
    ) -> list[ast.stmt]:
        wanted, found = set(names), []
        for writer in reversed(nodes):
            made = writes(writer) & wanted
            if not made:
                continue
            is_simple = not is_compound(writer) or isinstance(writer, ast.If)
            if is_simple and not isinstance(writer, (*FUNCTIONS, ast.ClassDef)):
                found.append(writer)
            if self._is_always_before(writer, reader):
                wanted -= {name for name in made if is_whole(writer, name)}
            wanted |= reads(writer)
        return found

    def is_sure(self, node: ast.stmt) -> bool:
        """Whether a statement runs in each pass of the loops around it: it stands in no `if`."""
        return len(self._blocks[node]) == len(self.loops[node])

    def _is_always_before(self, writer: ast.stmt, reader: ast.stmt) -> bool:
        """Whether each pass that comes to the reader has run the writer."""
        around = self._blocks[writer]
        return self._blocks[reader][: len(around)] == around
