"""Candidates: model shapes, keys, validity and JSON."""

import json

import pytest
from hypothesis import given, settings

from einsearch.errors import EinsearchError
from einsearch.space.candidate import Candidate, ModelShape
from einsearch.space.einsum import Einsum
from einsearch.space.notation import parse
from einsearch.space.operator import operator

SHAPE = ModelShape(width=64, head_size=8)


def test_the_linear_layers_of_a_block() -> None:
    candidate = Candidate(attention=parse("btt"), ffn=parse("kronecker"), shape=SHAPE)
    square = operator(parse("btt"), 64, 64)
    assert candidate.layers() == {
        "q": square,
        "k": square,
        "v": square,
        "o": square,
        "up": operator(parse("kronecker"), 64, 256),
        "down": operator(parse("kronecker"), 256, 64),
    }


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"width": 60},
            "width 60 is not divisible by head size 8; use width 56 or 64, or another head size",
        ),
        ({"width": 4}, "width 4 is not divisible by head size 8; use width 8 or 16, or another head size"),
        ({"width": 0}, "width is 0; it must be a positive integer"),
        ({"width": 64, "depth": True}, "depth is True; it must be a positive integer"),
        ({"width": 64, "head_size": 2.0}, "head_size is 2.0; it must be a positive integer"),
        ({"width": 64, "family": "llama"}, "unknown model family 'llama'; known: gpt2"),
    ],
)
def test_a_shape_that_cannot_be_built_is_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(EinsearchError) as error:
        ModelShape(**{"head_size": 8, **fields})  # type: ignore[arg-type]
    assert str(error.value) == message


def test_one_key_for_all_theta_that_round_to_one_operator() -> None:
    texts = ("btt", "(.5|0|.5|0|.5|.5|.01)", "(.48|0|.52|0|.5|.5|0)", "(0|.5|.5|.5|0|.5|0)")
    assert len({Candidate.of(parse(text), SHAPE).key for text in texts}) == 1


@settings(max_examples=30)
@given(...)
def test_the_key_does_not_see_the_names_of_the_factors(einsum: Einsum) -> None:
    assert Candidate.of(einsum.canonical(), SHAPE).key == Candidate.of(einsum, SHAPE).key


def test_different_keys_for_what_trains_differently() -> None:
    candidates = [
        *(Candidate.of(parse(text), SHAPE) for text in ("dense", "btt", "btt(1/3)", "kronecker")),
        Candidate(attention=parse("btt"), ffn=parse("kronecker"), shape=SHAPE),
        Candidate(attention=parse("kronecker"), ffn=parse("btt"), shape=SHAPE),
        *(
            Candidate.of(parse("btt"), ModelShape(**{"width": 64, "head_size": 8, name: value}))
            for name, value in (("width", 128), ("depth", 3), ("head_size", 16), ("ffn_expansion", 2))
        ),
    ]
    keys = {candidate.key for candidate in candidates}
    assert len(keys) == len(candidates)
    assert all(len(key) == 12 and set(key) <= set("0123456789abcdef") for key in keys)


def test_at_width_changes_the_width_alone() -> None:
    candidate = Candidate.of(parse("btt"), ModelShape(width=64, depth=3, ffn_expansion=2))
    assert candidate.at_width(96) == Candidate.of(parse("btt"), ModelShape(width=96, depth=3, ffn_expansion=2))


def test_names_for_people() -> None:
    dense = Candidate.dense(SHAPE)
    assert (dense.is_dense, dense.label, dense.theta) == (True, "Dense", "dense")
    mixed = Candidate(attention=parse("dense"), ffn=parse("btt(1/4)"), shape=SHAPE)
    assert not mixed.is_dense
    assert mixed.label == "Dense / BTT rank d^0.25"
    assert mixed.theta == "dense / (0.5|0|0.5|0|0.5|0.5|0.25)"
    assert Candidate.of(parse("btt"), SHAPE).theta == "(0.5|0|0.5|0|0.5|0.5|0)"


@pytest.mark.parametrize(
    ("attention", "ffn", "reason"),
    [
        ("dense", "dense", None),
        ("btt", "kronecker", None),
        ("btt(1/2)", "dense", None),
        ("btt(.51)", "dense", "attention: dearer than dense: nu = 1.01 > 1"),
        (
            "dense",
            "(1|0|0|.5|0|.5|0)",
            "ffn: reducible: factor B is absorbed by A: all its indices are A's too",
        ),
        (
            "(.05|0|.95|.05|.9|.05|0)",
            "dense",
            "layer q (a1 g64 d1 e64 f1): reducible at these sizes: "
            "factor A is absorbed by B: all its indices are B's too",
        ),
    ],
)
def test_what_may_not_be_trained_says_why(attention: str, ffn: str, reason: str | None) -> None:
    assert Candidate(attention=parse(attention), ffn=parse(ffn), shape=SHAPE).invalid_because() == reason


@settings(max_examples=30)
@given(...)
def test_json_is_read_back(attention: Einsum, ffn: Einsum) -> None:
    candidate = Candidate(attention=attention, ffn=ffn, shape=ModelShape(width=32, depth=3, ffn_expansion=2))
    read = Candidate.from_json(json.loads(json.dumps(candidate.to_json())))
    assert read == candidate
    assert read.key == candidate.key
