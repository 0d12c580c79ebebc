"""Structures for `--layer all`: every named family, and some that have no name. All have nu <= 3/4, dense apart."""

from __future__ import annotations

STRUCTURES = (
    "low-rank(1/4)",
    "low-rank",
    "low-rank(3/4)",
    "low-rank(1/2, factors=3)",
    "kronecker",
    "kronecker(factors=3)",
    "tensor-train(1/8)",
    "tensor-train(1/4)",
    "tensor-train(1/8, factors=3)",
    "monarch",
    "monarch(factors=3)",
    "btt(1/8)",
    "btt(1/4)",
    "btt(1/8, factors=3)",
    "(3/4|0|1/4|0|3/4|1/4|1/2)",
    "(1/2|0|1/2|1/2|1/2|0|0)",
    "(1/2|1/2|0|0|1/2|1/2|0)",
    "(1/2|0|1/2|1/4|1/2|1/4|0)",
    "(1/2|1/4|1/4|1/4|1/2|1/4|0)",
    "(1/2|1/2|0|1/4|1/2|1/4|1/8)",
    "(1/4|1/2|1/4|1/2|1/4|1/4|1/4)",
    "(1/4|1/4|1/2|1/4|1/4|1/2|0)",
    "ag,agf,gef,eb->bf; a=1/2, g=1/2, e=1/2, f=1/2, b=1/2",
    "ab,acr,brd,cde->de; a=1/2, b=1/2, c=1/2, d=1/2, e=1/2, r=1/8",
)

WIDTHS = (512, 1024)
"""Where they are compared."""
