"""Batches that depend on seed and step alone, and validation windows that never overlap."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from einsearch.errors import EinsearchError
from einsearch.proxy.batches import Batches, require_length, train_batch, validation_windows
from einsearch.proxy.corpus import Corpus, load_corpus

# Every window of it shows where it starts.
COUNT = np.arange(96, dtype=np.uint8)


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    (tmp_path / "book.txt").write_bytes(b"".join(b"line %d\n" % number for number in range(500)))
    return load_corpus(tmp_path / "book.txt", tmp_path / "cache")


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1), st.integers(1, 95), st.integers(1, 20))
def test_train_batch_is_windows_of_the_data(seed: int, step: int, context: int, batch: int) -> None:
    sequences = train_batch(COUNT, context=context, batch=batch, seed=seed, step=step)
    assert sequences.shape == (batch, context + 1)
    assert sequences.dtype == np.int64
    assert (np.diff(sequences, axis=1) == 1).all()


def test_train_batch_depends_on_seed_and_step_alone(corpus: Corpus) -> None:
    batches = Batches(corpus=corpus, context=16, batch=8, seed=5)
    through = [batches.train(step) for step in range(6)]
    resumed = [Batches(corpus=corpus, context=16, batch=8, seed=5).train(step) for step in (5, 3, 4)]
    for step, sequences in zip((5, 3, 4), resumed, strict=True):
        assert np.array_equal(sequences, through[step])
    assert not np.array_equal(through[0], through[1])
    assert not np.array_equal(through[0], Batches(corpus=corpus, context=16, batch=8, seed=6).train(0))


def test_swapped_seed_and_step_differ() -> None:
    first = train_batch(COUNT, context=1, batch=32, seed=1, step=2)
    second = train_batch(COUNT, context=1, batch=32, seed=2, step=1)
    assert not np.array_equal(first, second)


def test_stream_is_the_recorded_one() -> None:
    """A NumPy that drew other numbers would silently change every comparison with an old trial."""
    starts = train_batch(COUNT, context=4, batch=6, seed=3, step=7)[:, 0]
    assert starts.tolist() == [5, 14, 83, 75, 79, 67]


def test_train_batch_reaches_both_ends() -> None:
    starts = train_batch(COUNT[:10], context=4, batch=500, seed=0, step=0)[:, 0]
    assert set(starts.tolist()) == {0, 1, 2, 3, 4, 5}


@given(st.integers(2, 96), st.integers(1, 30), st.integers(1, 30))
def test_validation_windows_do_not_overlap(size: int, context: int, sequences: int) -> None:
    if size < context + 1:
        with pytest.raises(EinsearchError):
            validation_windows(COUNT[:size], context=context, sequences=sequences)
        return
    windows = validation_windows(COUNT[:size], context=context, sequences=sequences)
    assert windows.shape == (min(sequences, size // (context + 1)), context + 1)
    assert windows.dtype == np.int64
    assert (np.diff(windows, axis=1) == 1).all()
    assert len(set(windows.ravel().tolist())) == windows.size
    assert len(set(np.diff(windows[:, 0]).tolist())) <= 1


def test_validation_windows_spread_over_the_data() -> None:
    assert validation_windows(COUNT, context=3, sequences=4)[:, 0].tolist() == [0, 24, 48, 72]
    assert validation_windows(COUNT[:11], context=4, sequences=99).tolist() == [
        [0, 1, 2, 3, 4],
        [5, 6, 7, 8, 9],
    ]


def test_batches_read_the_two_splits(corpus: Corpus) -> None:
    batches = Batches(corpus=corpus, context=16, batch=4, seed=1)
    train = train_batch(corpus.train, context=16, batch=4, seed=1, step=9)
    assert np.array_equal(batches.train(9), train)
    assert type(batches.train(9)) is np.ndarray
    validation = validation_windows(corpus.validation, context=16, sequences=3)
    assert np.array_equal(batches.validation(3), validation)


def test_data_shorter_than_one_sequence(corpus: Corpus) -> None:
    message = r" data has 40 symbols, but one sequence needs 65; give more text or a shorter context$"
    with pytest.raises(EinsearchError, match="^the training" + message):
        train_batch(COUNT[:40], context=64, batch=1, seed=0, step=0)
    with pytest.raises(EinsearchError, match="^the validation" + message):
        validation_windows(COUNT[:40], context=64, sequences=1)
    validation, train = corpus.validation.size, corpus.train.size
    require_length(corpus, context=validation - 1)
    for context, split, size in ((validation, "validation", validation), (train, "training", train)):
        expected = (
            f"^the {split} split of book.txt has {size} symbols, but one sequence needs {context + 1}; "
            "give more text or a shorter context$"
        )
        with pytest.raises(EinsearchError, match=expected):
            require_length(corpus, context=context)
        with pytest.raises(EinsearchError, match=expected):
            Batches(corpus=corpus, context=context, batch=1, seed=0)


@pytest.mark.parametrize("name", ["context", "batch"])
def test_numbers_below_one(corpus: Corpus, name: str) -> None:
    numbers = {"context": 4, "batch": 2} | {name: 0}
    message = f"^{name} is 0, but must be at least 1; raise it$"
    with pytest.raises(EinsearchError, match=message):
        train_batch(COUNT, seed=0, step=0, **numbers)
    with pytest.raises(EinsearchError, match=message):
        Batches(corpus=corpus, seed=0, **numbers)


@pytest.mark.parametrize("value", [-1, 2**64])
@pytest.mark.parametrize("name", ["seed", "step"])
def test_seed_and_step_out_of_range(name: str, value: int) -> None:
    keys = {"seed": 0, "step": 0} | {name: value}
    with pytest.raises(EinsearchError, match=rf"^{name} is {value}, but must lie in 0 to 2\*\*64 - 1; choose"):
        train_batch(COUNT, context=4, batch=2, **keys)
