"""Conditions that people write, as `omega == 0 and psi == 1 and nu <= 1/2`: read safely and exactly.

Python's grammar without calls, attributes or subscripts: comparisons (also chained) of sums, differences,
products and quotients of numbers and known names, joined by and, or, not. Nothing is ever executed.
Numbers are exact: 0.33 is 33/100, 1/3 a third.
"""

from __future__ import annotations

import ast
import operator
import re
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np

from einsearch.errors import EinsearchError

_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_OPPOSITE: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.GtE,),
    ast.LtE: (ast.Gt,),
    ast.Gt: (ast.LtE,),
    ast.GtE: (ast.Lt,),
    ast.Eq: (ast.Lt, ast.Gt),
    ast.NotEq: (ast.Eq,),
}

_ROUNDING = 9
"""Decimals to which differences of arrays are rounded before they are compared, so that == means what it says."""

_LONGEST = 1000
_DEEPEST = 100
"""Characters of a condition, and how deep it may nest: far beyond what a person writes, and safe to walk."""

_DECIMAL = re.compile(r"[\d_]{0,40}\.?[\d_]{0,40}([eE][+-]?\d{1,2})?", re.ASCII)
"""Numbers of a size that floats have too: not 0x10, not 1e999999999."""


@dataclass(frozen=True, slots=True)
class Linear:
    """constant + sum of coefficient * name, compared with zero by `sign`: one of == <= < (or >= > turned round)."""

    constant: Fraction
    coefficients: tuple[tuple[str, Fraction], ...]
    sign: str


@dataclass(frozen=True, slots=True)
class Constraint:
    """A condition on named numbers. Build one with :meth:`parse`."""

    text: str
    _tree: ast.expr

    @classmethod
    def parse(cls, text: str, names: Collection[str]) -> Constraint:
        """Read a condition on `names`.

        Raises EinsearchError with the place of what is no condition, or of a name that is not known.
        """
        stripped = " ".join(text.split())
        if len(stripped) > _LONGEST:
            raise EinsearchError(
                f"a condition of {len(stripped):,} characters: {stripped[:40]!r}...; write at most {_LONGEST:,}"
            )
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")  # Python reads 0and as `0 and`, and warns
                tree = ast.parse(stripped, mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            place = getattr(error, "offset", None) or 1
            raise EinsearchError(
                f"{stripped!r}, character {place}: not a condition; write one as omega == 0 and nu <= 1/2"
            ) from None
        _Check(stripped, tuple(names)).condition(tree)
        return cls(stripped, tree)

    @property
    def names(self) -> frozenset[str]:
        """The names that it speaks of."""
        return _names(self._tree)

    def holds(self, values: Mapping[str, Fraction | int]) -> bool:
        """Whether it holds for exact values of the names."""
        return bool(_evaluate(self.text, self._tree, values))

    def holds_for(self, arrays: Mapping[str, Any]) -> Any:
        """Whether it holds, for arrays of values; numbers within 1e-9 of each other are equal. Returns bools."""
        floats = {name: np.asarray(values, dtype=float) for name, values in arrays.items()}
        with np.errstate(all="ignore"):  # where a name divides, zeros give inf and nan
            return np.asarray(_evaluate(self.text, self._tree, floats), dtype=bool)

    def cases(self) -> Iterator[tuple[Linear, ...]]:
        """The condition as alternatives, each a list of linear conditions that all hold.

        Raises EinsearchError where a product or quotient of names makes it not linear.
        """
        yield from _cases(self.text, self._tree, True)

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class _Check:
    """Refuses what is not in the grammar, with its place."""

    text: str
    names: tuple[str, ...]

    def condition(self, node: ast.expr, depth: int = 0) -> None:
        self._not_too_deep(node, depth)
        if isinstance(node, ast.BoolOp):
            for part in node.values:
                self.condition(part, depth + 1)
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            self.condition(node.operand, depth + 1)
        elif isinstance(node, ast.Compare):
            if any(type(op) not in _COMPARE for op in node.ops):
                raise self._refuse(node, "compares with something else than < <= == != >= >", "use one of these")
            for part in (node.left, *node.comparators):
                self.number(part, depth + 1)
        else:
            raise self._refuse(node, "is no condition", "compare, as omega == 0")

    def number(self, node: ast.expr, depth: int) -> None:
        self._not_too_deep(node, depth)
        if isinstance(node, ast.Name):
            if node.id not in self.names:
                raise self._refuse(node, "is not known here", f"known: {', '.join(self.names)}")
        elif isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
            self.number(node.left, depth + 1)
            self.number(node.right, depth + 1)
            if isinstance(node.op, ast.Div) and not _names(node.right) and _evaluate(self.text, node.right, {}) == 0:
                raise self._refuse(node, "divides by zero", "divide by something else")
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
            self.number(node.operand, depth + 1)
        elif not (isinstance(node, ast.Constant) and _DECIMAL.fullmatch(self._part(node))):
            raise self._refuse(node, "is no number", "write decimals, names and + - * /")

    def _not_too_deep(self, node: ast.expr, depth: int) -> None:
        if depth > _DEEPEST:
            raise EinsearchError(
                f"{self.text[:40]!r}..., character {node.col_offset + 1}: nested more than {_DEEPEST} deep; "
                "write it shorter"
            )

    def _part(self, node: ast.expr) -> str:
        return ast.get_source_segment(self.text, node) or self.text

    def _refuse(self, node: ast.expr, problem: str, fix: str) -> EinsearchError:
        return EinsearchError(f"{self.text!r}, character {node.col_offset + 1}: {self._part(node)!r} {problem}; {fix}")


def _names(node: ast.expr) -> frozenset[str]:
    return frozenset(part.id for part in ast.walk(node) if isinstance(part, ast.Name))


def _evaluate(text: str, node: ast.expr, values: Mapping[str, Any]) -> Any:
    if isinstance(node, ast.BoolOp):
        parts = [_evaluate(text, part, values) for part in node.values]
        join = operator.and_ if isinstance(node.op, ast.And) else operator.or_
        found = parts[0]
        for part in parts[1:]:
            found = join(found, part)
        return found
    if isinstance(node, ast.UnaryOp):
        inner = _evaluate(text, node.operand, values)
        if isinstance(node.op, ast.Not):
            return np.logical_not(inner)
        return -inner if isinstance(node.op, ast.USub) else inner
    if isinstance(node, ast.Compare):
        sides = [_evaluate(text, part, values) for part in (node.left, *node.comparators)]
        held: Any = True
        for op, left, right in zip(node.ops, sides, sides[1:], strict=False):
            if isinstance(difference := left - right, np.ndarray | float):
                left, right = np.round(difference, _ROUNDING), 0.0
            held = held & _COMPARE[type(op)](left, right)
        return held
    if isinstance(node, ast.BinOp):
        left, right = (_evaluate(text, part, values) for part in (node.left, node.right))
        try:
            return _ARITHMETIC[type(node.op)](left, right)
        except ZeroDivisionError:
            part = ast.get_source_segment(text, node)
            raise EinsearchError(f"{text!r}, character {node.col_offset + 1}: {part!r} divides by zero") from None
    if isinstance(node, ast.Name):
        return values[node.id]
    assert isinstance(node, ast.Constant)
    exact = _exact(text, node)
    return float(exact) if any(isinstance(value, np.ndarray) for value in values.values()) else exact


def _exact(text: str, node: ast.Constant) -> Fraction:
    return Fraction((ast.get_source_segment(text, node) or str(node.value)).replace("_", ""))


def _cases(text: str, node: ast.expr, positive: bool) -> Iterator[tuple[Linear, ...]]:
    """Disjunctive normal form; `positive` is False under a not."""
    if isinstance(node, ast.UnaryOp):
        yield from _cases(text, node.operand, not positive)
    elif isinstance(node, ast.BoolOp):
        parts = [list(_cases(text, part, positive)) for part in node.values]
        if isinstance(node.op, ast.And) == positive:
            for chosen in product(*parts):
                yield tuple(atom for case in chosen for atom in case)
        else:
            yield from (case for part in parts for case in part)
    else:
        assert isinstance(node, ast.Compare)
        sides = (node.left, *node.comparators)
        links = [
            [(_difference(text, left, right, kind),) for kind in ((type(op),) if positive else _OPPOSITE[type(op)])]
            for op, left, right in zip(node.ops, sides, sides[1:], strict=False)
        ]
        links = [[case for atom in link for case in _split(atom[0])] for link in links]
        if positive:
            for chosen in product(*links):
                yield tuple(atom for case in chosen for atom in case)
        else:
            yield from (case for link in links for case in link)


def _difference(text: str, left: ast.expr, right: ast.expr, kind: type[ast.cmpop]) -> Linear:
    """left - right against zero."""
    a, b = _linear(text, left), _linear(text, right)
    found = {name: a.get(name, Fraction(0)) - b.get(name, Fraction(0)) for name in {*a, *b}}
    sign = {ast.Lt: "<", ast.LtE: "<=", ast.Eq: "==", ast.NotEq: "!=", ast.Gt: ">", ast.GtE: ">="}[kind]
    if sign in (">", ">="):
        found = {name: -value for name, value in found.items()}
        sign = {">": "<", ">=": "<="}[sign]
    constant = found.pop("", Fraction(0))
    return Linear(constant, tuple(sorted(found.items())), sign)


def _split(atom: Linear) -> Iterator[tuple[Linear]]:
    """An inequation is two alternatives."""
    if atom.sign != "!=":
        yield (atom,)
        return
    yield (Linear(atom.constant, atom.coefficients, "<"),)
    yield (Linear(-atom.constant, tuple((name, -value) for name, value in atom.coefficients), "<"),)


def _linear(text: str, node: ast.expr) -> dict[str, Fraction]:
    """Coefficients by name; the empty name is the constant."""
    if isinstance(node, ast.Constant):
        return {"": _exact(text, node)}
    if isinstance(node, ast.Name):
        return {node.id: Fraction(1)}
    if isinstance(node, ast.UnaryOp):
        sign = -1 if isinstance(node.op, ast.USub) else 1
        return {name: sign * value for name, value in _linear(text, node.operand).items()}
    assert isinstance(node, ast.BinOp)
    a, b = _linear(text, node.left), _linear(text, node.right)
    if isinstance(node.op, ast.Add | ast.Sub):
        sign = 1 if isinstance(node.op, ast.Add) else -1
        return {name: a.get(name, Fraction(0)) + sign * b.get(name, Fraction(0)) for name in {*a, *b}}
    if isinstance(node.op, ast.Mult) and set(a) <= {""}:
        a, b = b, a
    if not set(b) <= {""}:
        part = ast.get_source_segment(text, node)
        raise EinsearchError(
            f"{text!r}, character {node.col_offset + 1}: {part!r} is not linear; multiply and divide by numbers only"
        )
    factor = b.get("", Fraction(0))
    if isinstance(node.op, ast.Div):
        factor = 1 / factor  # zero has been refused
    return {name: factor * value for name, value in a.items()}
