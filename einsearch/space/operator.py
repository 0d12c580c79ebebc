"""An einsum at integer sizes: what one linear layer computes, and what it costs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

from einsearch.space.einsum import Einsum
from einsearch.space.plan import Plan, reference_plan
from einsearch.space.sizes import Sizes, canonical_sizes, integer_sizes, rank_bound
from einsearch.space.structure import factor_name, reducible_because


@dataclass(frozen=True)
class Operator:
    """A d_in -> d_out linear operator with exact counts. Build one with :func:`operator`."""

    einsum: Einsum
    sizes: Sizes
    plan: Plan

    @cached_property
    def parameters(self) -> int:
        return sum(self.factor_parameters(f) for f in range(self.einsum.factors))

    def factor_parameters(self, factor: int) -> int:
        return self.sizes.product(self.einsum.of_factor(factor))

    def factor_shape(self, factor: int) -> tuple[int, ...]:
        """Sizes of a factor's axes, in the order of the einsum's indices."""
        return tuple(size for index, size in self.sizes.of if factor in index.factors)

    @property
    def macs(self) -> int:
        """MACs per input vector, by the reference plan (padding included, as it is computed)."""
        return self.plan.macs

    @cached_property
    def rank_bound(self) -> int:
        return rank_bound(self.einsum, self.sizes)

    @property
    def padded(self) -> bool:
        return (self.sizes.padded_in, self.sizes.padded_out) != (self.sizes.d_in, self.sizes.d_out)

    @property
    def degenerate_because(self) -> str | None:
        """Why the operator at these sizes is reducible (an index rounded to size 1), or None."""
        kept = frozenset(index for index, size in self.sizes.of if size > 1)
        return reducible_because(kept, self.einsum.factors)

    @cached_property
    def identity(self) -> str:
        """Equal for two operators iff they compute the same family: canonical sizes and dimensions.

        Indices of size 1 do not count, and renaming the factors changes nothing, so that every theta
        that rounds to one operator has one identity.
        """
        terms = [
            "xyi"[side] + "".join(factor_name(f) for f in factors) + str(n)
            for (side, _, factors), n in canonical_sizes(self.sizes.of, self.einsum.factors)
        ]
        return f"{self.sizes.d_in}>{self.sizes.d_out}:" + ".".join(terms)

    def __str__(self) -> str:
        """Letters with sizes, as `a8 g8 e8 f8`; padding is named."""
        name = self.einsum.structure.letters()
        text = " ".join(f"{name[index]}{n}" for index, n in self.sizes.of)
        if self.padded:
            text += f" padded {self.sizes.d_in}->{self.sizes.padded_in}, {self.sizes.padded_out}->{self.sizes.d_out}"
        return text


@lru_cache(maxsize=65536)
def operator(einsum: Einsum, d_in: int, d_out: int) -> Operator:
    """The operator of a structure at given dimensions.

    >>> from einsearch.space.parse import parse
    >>> o = operator(parse("btt"), 64, 64)
    >>> o.parameters, o.macs, o.rank_bound
    (1024, 1024, 64)
    """
    sizes = integer_sizes(einsum, d_in, d_out)
    return Operator(einsum, sizes, reference_plan(einsum, sizes))
