"""Calls that stand for plain statements, written as these before a script's code is read.

`setattr(layer, "W", new)` becomes `layer.W = new`, and `tree_map(lambda p, g: p - lr * g, params,
grads)` a comprehension over both. Only the reading is done in this spelling: what runs is the
script's own code.
"""

from __future__ import annotations

import ast

from tutor.python_syntax import called_name, last_name


def plainly_spelled(tree: ast.Module) -> ast.Module:
    """A script's code with such calls replaced; each node keeps its place in the file."""
    found: ast.Module = _PlainSpelling().visit(tree)
    return ast.fix_missing_locations(found)


class _PlainSpelling(ast.NodeTransformer):
    def visit_Expr(self, node: ast.Expr) -> ast.stmt:
        self.generic_visit(node)
        match node.value:
            case ast.Call(func=ast.Name(id="setattr"), args=[thing, name, value]):
                target = _member(thing, name, ast.Store())
                return ast.copy_location(ast.Assign([target], value), node)
        return node

    def visit_Call(self, node: ast.Call) -> ast.expr:
        if called_name(node.func) == "getattr":
            return node  # of a class or function by its name: `getattr(nn, kind)(3, 1)`
        self.generic_visit(node)
        match node:
            case ast.Call(func=ast.Name(id="getattr"), args=[thing, name, *_]):
                return ast.copy_location(_member(thing, name, ast.Load()), node)
            case ast.Call(args=[ast.Lambda(args=arguments, body=body), *trees]) if _is_tree_map(
                node
            ):
                return ast.copy_location(_mapped(arguments, body, trees), node)
            case ast.Call(args=[params, updates]) if called_name(node) == "apply_updates":
                return ast.copy_location(ast.BinOp(params, ast.Add(), updates), node)
        return node


def _member(thing: ast.expr, name: ast.expr, context: ast.expr_context) -> ast.expr:
    """An attribute; where its name is computed, an element of that key."""
    match name:
        case ast.Constant(value=str() as text) if text.isidentifier():
            return ast.Attribute(thing, text, context)
    return ast.Subscript(thing, name, context)


def _is_tree_map(call: ast.Call) -> bool:
    """Whether a call changes the leaves of trees: `tree_map(…)`, `jax.tree.map(…)`."""
    func = call.func
    is_short = isinstance(func, ast.Attribute) and last_name(func.value) == "tree"
    return called_name(call) == "tree_map" or (is_short and called_name(call) == "map")


def _mapped(arguments: ast.arguments, body: ast.expr, trees: list[ast.expr]) -> ast.ListComp:
    """`[p - lr * g for p, g in zip(params, grads)]`."""
    targets: list[ast.expr] = [ast.Name(a.arg, ast.Store()) for a in arguments.args]
    is_one = len(trees) == 1 == len(targets)
    target = targets[0] if is_one else ast.Tuple(targets, ast.Store())
    zipped = ast.Call(ast.Name("zip", ast.Load()), trees, [])
    iterated = trees[0] if is_one else zipped
    return ast.ListComp(body, [ast.comprehension(target, iterated, [], 0)])
