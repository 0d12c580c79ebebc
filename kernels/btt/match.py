"""Which einsum operators are Block Tensor-Trains, and how their factors map to the kernel's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from einsearch.kernels.btt.sizes import Sizes
from einsearch.space.operator import Operator
from einsearch.space.structure import Index


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """An operator that is a BTT: factor `first` is contracted into x, then factor `second`."""

    first: int
    second: int
    sizes: Sizes

    def factors(self, factors: Sequence[Tensor], experts: Sequence[int] = ()) -> tuple[Tensor, Tensor]:
        """Views (alpha, gamma, phi, rho) and (gamma, epsilon, phi, rho) of the operator's two factors.

        `btt(x, *match.factors(factors))` is then `einsum_linear(x, factors, operator)`. experts: the number of
        them where factors of several are stacked, as a first size of both views.
        """
        n = self.sizes
        # The axes of a factor are in the order of the einsum: x before y before neither. So only axes of size 1 differ.
        return (
            factors[self.first].view(*experts, n.alpha, n.gamma, n.phi, n.rho),
            factors[self.second].view(*experts, n.gamma, n.epsilon, n.phi, n.rho),
        )


def matches(operator: Operator) -> Match | None:
    """The roles of the two factors where the operator is a BTT at its sizes, else None.

    It is one where every index of size above 1 is alpha {x, first}, gamma {x, first, second}, epsilon
    {second, y}, phi {first, second, y} or rho {first, second}, for one of the two namings of the
    factors; where both fit, for (0, 1).

    >>> from einsearch.space.parse import parse
    >>> from einsearch.space.operator import operator
    >>> matches(operator(parse("btt"), 64, 64)).sizes
    Sizes(alpha=8, gamma=8, epsilon=8, phi=8, rho=1)
    >>> matches(operator(parse("kronecker"), 64, 64)) is None
    True
    """
    if operator.einsum.factors != 2:
        return None
    size = {index: n for index, n in operator.sizes.of if n > 1}
    for first, second in ((0, 1), (1, 0)):
        roles = {
            "alpha": Index(True, (first,), False),
            "gamma": Index(True, (0, 1), False),
            "epsilon": Index(False, (second,), True),
            "phi": Index(False, (0, 1), True),
            "rho": Index(False, (0, 1), False),
        }
        if size.keys() <= set(roles.values()):
            return Match(
                first=first, second=second, sizes=Sizes(**{name: size.get(index, 1) for name, index in roles.items()})
            )
    return None
