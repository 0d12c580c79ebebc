"""Cuts sequences out of a corpus: random ones to train on, fixed ones to validate on.

A sequence is ``context + 1`` symbols: ``context`` inputs and, one place later, as many targets.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from einsearch.errors import EinsearchError
from einsearch.proxy.corpus import Corpus

Symbols = npt.NDArray[np.uint8]
Sequences = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Batches:
    """The sequences of one training run: ``batch`` of ``context + 1`` symbols a step.

    Raises:
        EinsearchError: a split of ``corpus`` is shorter than one sequence, or a number is out of range.
    """

    corpus: Corpus
    context: int
    batch: int
    seed: int

    def __post_init__(self) -> None:
        _require_positive("context", self.context)
        _require_positive("batch", self.batch)
        _require_key("seed", self.seed)
        require_length(self.corpus, context=self.context)

    def train(self, step: int) -> Sequences:
        """The training batch of ``step``; see ``train_batch``."""
        return train_batch(self.corpus.train, context=self.context, batch=self.batch, seed=self.seed, step=step)

    def validation(self, sequences: int) -> Sequences:
        """At most ``sequences`` fixed sequences of the validation split; see ``validation_windows``."""
        return validation_windows(self.corpus.validation, context=self.context, sequences=sequences)


def train_batch(data: Symbols, *, context: int, batch: int, seed: int, step: int) -> Sequences:
    """Random windows of ``data``, shape ``(batch, context + 1)``.

    They follow from ``seed`` and ``step`` alone, so step 700 sees the same text whether training ran
    through or was resumed there, and whatever was drawn before.

    Raises:
        EinsearchError: ``data`` is shorter than one sequence, or a number is out of range.
    """
    _require_positive("context", context)
    _require_positive("batch", batch)
    _require_key("seed", seed)
    _require_key("step", step)
    _require_symbols("the training data", data.size, context)
    # The key of Philox is two words of 64 bits: no two pairs of seed and step share a stream.
    generator = np.random.Generator(np.random.Philox(key=np.array([seed, step], dtype=np.uint64)))
    return _windows(data, generator.integers(data.size - context, size=batch), context)


def validation_windows(data: Symbols, *, context: int, sequences: int) -> Sequences:
    """Evenly spaced windows of ``data`` that do not overlap, shape ``(count, context + 1)``.

    ``count`` is ``sequences``, or as many as fit where ``data`` is too short for that.

    Raises:
        EinsearchError: ``data`` is shorter than one sequence, or a number is out of range.
    """
    _require_positive("context", context)
    _require_positive("sequences", sequences)
    _require_symbols("the validation data", data.size, context)
    count = min(sequences, data.size // (context + 1))
    return _windows(data, np.arange(count) * (data.size // count), context)


def require_length(corpus: Corpus, *, context: int) -> None:
    """Both splits of ``corpus`` hold at least one sequence of ``context + 1`` symbols.

    Raises:
        EinsearchError: one of them does not.
    """
    _require_symbols(f"the training split of {corpus.name}", corpus.train.size, context)
    _require_symbols(f"the validation split of {corpus.name}", corpus.validation.size, context)


def _windows(data: Symbols, starts: npt.NDArray[np.int64], context: int) -> Sequences:
    return np.asarray(data)[starts[:, None] + np.arange(context + 1)].astype(np.int64)


def _require_symbols(what: str, symbols: int, context: int) -> None:
    if symbols < context + 1:
        raise EinsearchError(
            f"{what} has {symbols} symbols, but one sequence needs {context + 1}; give more text or a shorter context"
        )


def _require_positive(name: str, value: int) -> None:
    if value < 1:
        raise EinsearchError(f"{name} is {value}, but must be at least 1; raise it")


def _require_key(name: str, value: int) -> None:
    if not 0 <= value < 2**64:
        raise EinsearchError(f"{name} is {value}, but must lie in 0 to 2**64 - 1; choose one in that range")
