"""What every test shares: random einsums for Hypothesis, a torch that repeats itself, a database server."""

from __future__ import annotations

import importlib.util
import random
import sys
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from hypothesis import strategies as st

from einsearch.space.einsum import Einsum
from einsearch.space.structure import Index, Structure, index_kinds

if TYPE_CHECKING:
    from .postgresql import Server

# Speed lives in benchmarks: a busy machine fails no test.
settings.register_profile("einsearch", deadline=None)
settings.load_profile("einsearch")


def einsums(factors: int) -> st.SearchStrategy[Einsum]:
    """Up to three indices on x, on y and between factors; reducible structures included."""
    kinds = index_kinds(factors)
    inner = [i for i in kinds if not (i.in_x or i.in_y)]
    eighths = st.integers(1, 4).map(lambda n: Fraction(n, 8))
    return st.builds(
        lambda x, y, between: Einsum.of(factors, x | y | between),
        exponents_of_a_side([i for i in kinds if i.in_x]),
        exponents_of_a_side([i for i in kinds if i.in_y]),
        st.dictionaries(st.sampled_from(inner), eighths, max_size=3) if inner else st.just({}),
    )


def exponents_of_a_side(kinds: list[Index]) -> st.SearchStrategy[dict[Index, Fraction]]:
    weights = st.dictionaries(st.sampled_from(kinds), st.integers(1, 4), min_size=1, max_size=3)
    return weights.map(lambda chosen: {i: Fraction(weight, sum(chosen.values())) for i, weight in chosen.items()})


def structures(factors: int) -> st.SearchStrategy[Structure]:
    """Up to four indices on x, on y and between factors; reducible structures included."""
    by_side = [[i for i in index_kinds(factors) if i.side == side] for side in range(3)]
    x, y = (st.sets(st.sampled_from(kinds), min_size=1, max_size=4) for kinds in by_side[:2])
    between = st.sets(st.sampled_from(by_side[2]), max_size=4) if by_side[2] else st.just(set())
    return st.builds(lambda *sides: Structure.of(factors, set().union(*sides)), x, y, between)


st.register_type_strategy(Einsum, st.one_of([einsums(factors) for factors in (1, 2, 3, 4)]))
st.register_type_strategy(Structure, st.one_of([structures(factors) for factors in (1, 2, 3, 4)]))


@pytest.fixture(autouse=True, scope="module")
def repeatable_torch() -> Iterator[None]:
    """One thread, deterministic kernels, and fresh memory full of NaN, so that an unwritten element fails.

    Only where the test's module has imported torch: the symbolic part works without.
    """
    torch = sys.modules.get("torch")
    if torch is None:
        yield
        return
    before = torch.get_deterministic_debug_mode()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    # As `use_deterministic_algorithms(True)`, without the import of torch's compiler that it costs.
    torch.set_deterministic_debug_mode("error")
    torch.utils.deterministic.fill_uninitialized_memory = True
    yield
    torch.set_deterministic_debug_mode(before)
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Implementations are measured anew, and what is remembered on this machine stays as it is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EINSEARCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[Server]:
    """A PostgreSQL server that the tests of this process share; none of them stops it."""
    if importlib.util.find_spec("psycopg") is None:
        pytest.skip("no driver for PostgreSQL: pip install 'einsearch[postgres]'")
    from .postgresql import binaries, running_server

    if binaries() is None:
        pytest.skip("no PostgreSQL server on this machine: apt-get install postgresql")
    with running_server() as server:
        yield server


TINY_SPACE = """\
name: tiny
structures:
  list:
    - {family: monarch}
    - {family: low-rank, rank: 0.5}
    - {family: kronecker}
    - {family: btt, rank: 0.25}
model: {widths: [16], depth: 1, head_size: 8}
"""

TINY_STUDY = """\
name: tiny
space: space.yaml
budget: 2e8
data: text
rungs: [1.6e7, 3.2e7]
ladder:
  - {width: 16, flops: 6.4e7}
protocol: {context: 16, batch: 4, validation_sequences: 8, evaluations_per_octave: 1, warmup_steps: 2}
"""


@pytest.fixture(scope="session")
def write_tiny_study() -> Callable[[Path], Path]:
    """Write the file of a study that trains about 120 steps, with its search space and its text beside it.

    Its budget holds the ladder, all four candidates at the top rung, and little more.
    """

    def write(folder: Path) -> Path:
        words, draw = ("alpha", "beta", "gamma", "rank", "factor", "loss", "dense", "einsum", "of"), random.Random(0)
        (folder / "text").mkdir()
        for n in range(4):
            (folder / "text" / f"{n}.txt").write_text(" ".join(draw.choice(words) for _ in range(2000)))
        (folder / "space.yaml").write_text(TINY_SPACE)
        (folder / "study.yaml").write_text(TINY_STUDY)
        return folder / "study.yaml"

    return write


@pytest.fixture
def tiny_study(write_tiny_study: Callable[[Path], Path], tmp_path: Path) -> Path:
    """The file of the tiny study, in the folder of the test."""
    return write_tiny_study(tmp_path)
