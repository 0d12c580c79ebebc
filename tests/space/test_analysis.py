"""The analysis brings the parts together; here are the parts that are its own: bytes and intensity."""

import numpy as np
import pytest
from hypothesis import given, settings

from einsearch.errors import EinsearchError
from einsearch.space.analysis import BYTES, analyze, costs
from einsearch.space.einsum import Einsum
from einsearch.space.operator import operator
from einsearch.space.parse import parse


@settings(max_examples=40)
@given(...)
def test_an_analysis_agrees_with_itself(einsum: Einsum) -> None:
    found = analyze(einsum)
    exponent = dict(einsum.exponents)
    assert found.cut.value == found.taxonomy.psi == sum(exponent[index] for index in found.cut.indices)
    assert sorted(found.order) == list(range(einsum.factors))
    assert found.canonical == einsum.canonical()


def test_bytes_of_a_monarch_by_hand() -> None:
    found = costs(operator(parse("monarch"), 64, 64), batch=10, dtype="fp32")
    # Each of two steps reads and writes 10 x 64 numbers and reads 8^3 parameters.
    assert found.bytes == 4 * 2 * (10 * (64 + 64) + 512)
    assert found.dense_bytes == 4 * (10 * (64 + 64) + 64 * 64)
    assert found.intensity == 2 * 1024 * 10 / found.bytes
    assert found.dense_intensity == 2 * 4096 * 10 / found.dense_bytes


def test_bytes_of_dense_are_those_it_is_compared_with() -> None:
    found = costs(operator(parse("dense"), 96, 384), batch=7)
    assert (found.bytes, found.parameters) == (found.dense_bytes, found.dense_parameters)
    assert found.intensity == found.dense_intensity


@pytest.mark.parametrize("dtype", BYTES)
def test_bytes_follow_the_type(dtype: str) -> None:
    numpy_type = {"bf16": "float16", "fp16": "float16", "fp32": "float32", "fp64": "float64"}[dtype]
    dense = operator(parse("dense"), 8, 8)
    assert costs(dense, 1, dtype).bytes == (64 + 16) * np.dtype(numpy_type).itemsize


@pytest.mark.parametrize(
    ("batch", "dtype", "message"),
    [
        (4, "fp8", "unknown type 'fp8'; known: bf16, fp16, fp32, fp64"),
        (0, "bf16", "batch is 0; give the number of input vectors, 1 or more"),
    ],
)
def test_bad_input(batch: int, dtype: str, message: str) -> None:
    with pytest.raises(EinsearchError) as error:
        costs(operator(parse("btt"), 64, 64), batch, dtype)
    assert str(error.value) == message
