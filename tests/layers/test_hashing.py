"""Random numbers from counters, and the greatest of what is equal."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from einsearch.layers.hashing import MASK, hashed, top_by


def by_hand(value: int) -> int:
    """The same mixer in Python's integers."""
    value ^= value >> 16
    value = value * 0x21F0AAAD & MASK
    value ^= value >> 15
    value = value * 0x735A2D97 & MASK
    return value ^ value >> 15


@given(st.integers(0, MASK))
def test_the_mixer_in_integers_of_any_size(value: int) -> None:
    assert hashed(torch.tensor(value)).item() == by_hand(value)


def test_higher_bits_are_dropped() -> None:
    assert hashed(torch.tensor(5 + (7 << 32))) == hashed(torch.tensor(5))
    assert hashed(torch.tensor(-1)) == hashed(torch.tensor(MASK))


def test_different_numbers_stay_different() -> None:
    found = hashed(torch.arange(1 << 20))
    assert len(found.unique()) == 1 << 20
    assert (found >= 0).all()
    assert (found <= MASK).all()


@pytest.mark.parametrize("start", [0, 1 << 31, (1 << 32) - (1 << 16)])
def test_counters_become_uniform_and_independent(start: int) -> None:
    found = hashed(torch.arange(start, start + (1 << 16)))
    for shift in (0, 7, 24):
        bits = (found >> shift) & 255
        assert stats.chisquare(torch.bincount(bits, minlength=256).numpy()).pvalue > 1e-4
        pairs = torch.bincount((bits[1:] & 15) * 16 + (bits[:-1] & 15), minlength=256)
        assert stats.chisquare(pairs.numpy()).pvalue > 1e-4


def test_that_check_can_fail() -> None:
    counts = torch.bincount(torch.arange(1 << 12) * 37 & 63, minlength=256)
    assert stats.chisquare(counts.numpy()).pvalue < 1e-4


FLOATS = st.floats(width=32, allow_nan=False)


@given(st.lists(st.tuples(FLOATS, st.integers(0, MASK)), min_size=1, max_size=8, unique_by=lambda pair: pair[1]))
def test_the_greatest_scores_and_noise_between_equals(pairs: list[tuple[float, int]]) -> None:
    score, noise = (torch.tensor(column) for column in zip(*pairs, strict=True))
    order = sorted(range(len(pairs)), key=lambda n: pairs[n], reverse=True)
    assert top_by(score, noise, len(pairs)).tolist() == order
    assert top_by(score.double(), noise, 1).tolist() == order[:1]


def test_both_zeros_are_equal() -> None:
    zeros = torch.tensor([[0.0, -0.0, -1e-45], [-0.0, 0.0, 1e-45]])
    assert top_by(zeros, torch.tensor([[1, 2, 3], [2, 1, 0]]), 2).tolist() == [[1, 0], [2, 0]]


def test_infinities_have_their_places() -> None:
    score = torch.tensor([float("-inf"), 0.0, float("inf"), -1e30])
    assert top_by(score, torch.arange(4), 4).tolist() == [2, 1, 3, 0]


def test_without_scores_noise_decides() -> None:
    assert top_by(None, torch.tensor([[5, 9, 7], [1, 0, MASK]]), 2).tolist() == [[1, 2], [2, 0]]
