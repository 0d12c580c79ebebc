"""Text to einsum: the one door for what people type.

Three notations are read:

* the paper's theta for two factors, `(alpha|beta|gamma|delta|epsilon|phi|rho)`, parentheses optional;
* a family name, with a parameter where it has one: `dense`, `btt`, `low-rank(1/2)`;
* an einsum string with exponents, for any number of factors, the first operand being x:
  `ag,agf,gef->ef; a=1/2, g=1/2, e=1/2, f=1/2`.
"""

from __future__ import annotations

from functools import lru_cache

from einsearch.space.einsum import Einsum
from einsearch.space.families import from_name
from einsearch.space.notation import parse_equation, parse_theta
from einsearch.space.structure import Structure


@lru_cache(maxsize=4096)
def parse(text: str) -> Einsum:
    """An einsum from any of the three notations.

    >>> print(parse("(0.5|0|0.5|0|0.5|0.5|0)"))
    (0.5|0|0.5|0|0.5|0.5|0)
    >>> parse("ag,agf,gef->ef; a=1/2, g=1/2, e=1/2, f=1/2") == parse("btt")
    True
    """
    text = text.strip()
    if "->" in text:
        return parse_equation(text).einsum()
    return parse_theta(text) if "|" in text else from_name(text)


def parse_structure(text: str) -> Structure:
    """A structure from any of the three notations; an einsum string needs no exponents.

    >>> parse_structure("ag,agf,gef->ef") == parse("btt").structure
    True
    """
    text = text.strip()
    return parse_equation(text).structure if "->" in text else parse(text).structure
