"""What is known of the rank of an operator: bounds from above and below, and measurement.

The rank meant is the generic one: that of all factors but a set of measure zero, and the greatest that
any factors have. Guaranteed are: it is at most the least cut; it is at least what a certificate proves; and
what is measured over a prime field is never above it.
"""

from __future__ import annotations

from dataclasses import dataclass

from einsearch.space.certificate import certificate
from einsearch.space.cut import least_cut
from einsearch.space.measured_rank import MeasuredRank, measured_rank
from einsearch.space.operator import Operator


@dataclass(frozen=True, slots=True, kw_only=True)
class Rank:
    """The generic rank between `certified` (or what is measured) and `bound`; `reason` says why in one line."""

    bound: int
    certified: int
    measured: MeasuredRank | None
    reason: str

    @property
    def least(self) -> int:
        """What the rank is at least; the rank itself where it is exact."""
        return max(self.certified, self.measured.rank if self.measured else 0)

    @property
    def proven(self) -> bool:
        """Whether `least` is the rank without doubt: a certificate or a measurement attains the bound."""
        return self.least == self.bound

    @property
    def exact(self) -> bool:
        """Whether `least` is the rank: proven, or measured and wrong with the probability `measured.error`."""
        return self.measured is not None or self.certified == self.bound

    def __str__(self) -> str:
        return f"{self.least}" if self.exact else f"{self.least} to {self.bound}"


def rank_of(operator: Operator, measure: bool = False) -> Rank:
    """What is known of the rank; with `measure` it is measured where the bounds do not meet.

    >>> from einsearch.space.operator import operator
    >>> from einsearch.space.parse import parse
    >>> found = rank_of(operator(parse("low-rank(1/2)"), 64, 64))
    >>> print(found, "|", found.reason)
    8 | at most 8: the cut r8; at least 8: paths a-r-e x8

    Raises EinsearchError as :func:`measured_rank`.
    """
    cut = least_cut(operator)
    letter = operator.einsum.structure.letters()
    crossed = " ".join(f"{letter[index]}{operator.sizes[index]}" for index in cut.indices)
    above = f"at most {cut.value}: the cut {crossed or 'of size 1'}"
    if cut.value < operator.sizes.product(frozenset(cut.indices)):
        above += ", padding removed"
    proof = certificate(operator)
    reason = f"{above}; at least {proof.rank}: {proof.reason}"
    measured = None
    if measure and proof.rank < cut.value:
        measured = measured_rank(operator)
        fields = ", ".join(f"GF({p})" for p in measured.primes)
        if measured.rank == cut.value:
            reason = f"{above}; at least {measured.rank}: random factors over {fields}"
        else:
            reason = (
                f"{above}; {measured.rank}: random factors over {fields}, wrong with probability {measured.error:.0e}"
            )
    return Rank(bound=cut.value, certified=proof.rank, measured=measured, reason=reason)
