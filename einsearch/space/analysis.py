"""Everything that can be said of an operator: its place in the taxonomy, and its costs at integer sizes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from einsearch.errors import EinsearchError
from einsearch.space.classify import Classification, classify
from einsearch.space.contraction import ContractionTree, contraction_tree, merges_from
from einsearch.space.cut import Cut, min_cut
from einsearch.space.einsum import Einsum
from einsearch.space.operator import Operator
from einsearch.space.rank import Rank, rank_of
from einsearch.space.taxonomy import Taxonomy, cheapest_order, taxonomy

BYTES = {"bf16": 2, "fp16": 2, "fp32": 4, "fp64": 8}
"""Bytes of a number, by the name of its type."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis:
    """An einsum, whatever its sizes: exponents of the width, exact.

    order: of contracting the factors into x, one that attains F. cut: the minimum cut, psi.
    """

    einsum: Einsum
    canonical: Einsum
    taxonomy: Taxonomy
    order: tuple[int, ...]
    cut: Cut[Fraction]
    classification: Classification


def analyze(einsum: Einsum) -> Analysis:
    """The analysis of an einsum."""
    return Analysis(
        einsum=einsum,
        canonical=einsum.canonical(),
        taxonomy=taxonomy(einsum),
        order=cheapest_order(einsum),
        cut=min_cut(einsum),
        classification=classify(einsum),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """An operator at integer sizes, for a batch of input vectors; `dense` costs are of a d_in x d_out matrix.

    macs: per input vector by the reference plan. bytes: moved for the batch, if every step of the plan reads
    its operands and writes its result once. intensity: FLOPs per byte. tree: the cheapest order of
    pairwise contraction, and merges_from the batch from which merging factors before x is cheaper.
    """

    operator: Operator
    batch: int
    parameters: int
    macs: int
    bytes: int
    rank: Rank
    tree: ContractionTree
    merges_from: int | None
    dense_parameters: int
    dense_bytes: int

    @property
    def intensity(self) -> float:
        return 2 * self.macs * self.batch / self.bytes

    @property
    def dense_intensity(self) -> float:
        return 2 * self.dense_parameters * self.batch / self.dense_bytes


def costs(operator: Operator, batch: int = 4096, dtype: str = "bf16", measure_rank: bool = False) -> Costs:
    """The costs of an operator for `batch` input vectors of numbers of a type in BYTES.

    Raises EinsearchError for a batch below 1, an unknown type, a rank that is too large to measure.
    """
    if dtype not in BYTES:
        raise EinsearchError(f"unknown type {dtype!r}; known: {', '.join(BYTES)}")
    size = BYTES[dtype]
    d_in, d_out = operator.sizes.d_in, operator.sizes.d_out
    dense = d_in * d_out
    return Costs(
        operator=operator,
        batch=batch,
        parameters=operator.parameters,
        macs=operator.macs,
        bytes=size * _numbers_moved(operator, batch),
        rank=rank_of(operator, measure=measure_rank),
        tree=contraction_tree(operator, batch),
        merges_from=merges_from(operator),
        dense_parameters=dense,
        dense_bytes=size * (batch * (d_in + d_out) + dense),
    )


def _numbers_moved(operator: Operator, batch: int) -> int:
    """Numbers read and written by the steps of the reference plan."""
    of = operator.sizes
    moved = 0
    for step in operator.plan.steps:
        moved += batch * (of.product(frozenset(step.live)) + of.product(frozenset(step.out)))
        moved += math.prod(operator.factor_shape(step.factor))
    return moved
