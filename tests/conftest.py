"""What every test shares: random einsums for Hypothesis, and a torch that repeats itself."""

import sys
from collections.abc import Iterator
from fractions import Fraction

import pytest
from hypothesis import settings
from hypothesis import strategies as st

from einsearch.space.einsum import Einsum, Index, index_kinds

# Speed lives in benchmarks: a busy machine fails no test.
settings.register_profile("einsearch", deadline=None)
settings.load_profile("einsearch")


@st.composite
def einsums(draw: st.DrawFn) -> Einsum:
    """One to three factors; up to three indices on x, on y and between factors. Reducible ones included."""
    factors = draw(st.integers(1, 3))
    kinds = index_kinds(factors)
    exponents: dict[Index, Fraction] = {}
    for side in ([i for i in kinds if i.in_x], [i for i in kinds if i.in_y]):
        weights = draw(st.dictionaries(st.sampled_from(side), st.integers(1, 4), min_size=1, max_size=3))
        exponents |= {index: Fraction(weight, sum(weights.values())) for index, weight in weights.items()}
    if inner := [i for i in kinds if not (i.in_x or i.in_y)]:
        eighths = draw(st.dictionaries(st.sampled_from(inner), st.integers(1, 4), max_size=3))
        exponents |= {index: Fraction(weight, 8) for index, weight in eighths.items()}
    return Einsum.of(factors, exponents)


st.register_type_strategy(Einsum, einsums())


@pytest.fixture(autouse=True, scope="module")
def repeatable_torch() -> Iterator[None]:
    """One thread, deterministic kernels, and fresh memory full of NaN, so that an unwritten element fails.

    Only where the test's module has imported torch: the symbolic part works without.
    """
    torch = sys.modules.get("torch")
    if torch is None:
        yield
        return
    before = torch.are_deterministic_algorithms_enabled()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = True
    yield
    torch.use_deterministic_algorithms(before)
    torch.set_num_threads(threads)
