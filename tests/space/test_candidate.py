"""Candidates: model shapes, keys, validity and JSON."""

import json

import pytest
from hypothesis import assume, given, settings

from einsearch.errors import EinsearchError
from einsearch.space.candidate import Candidate
from einsearch.space.einsum import Einsum
from einsearch.space.model_shape import LAYERS, SITES, ModelShape
from einsearch.space.operator import operator
from einsearch.space.parse import parse

SHAPE = ModelShape(width=64, head_size=8)


def test_the_linear_layers_of_a_block() -> None:
    candidate = Candidate.of_sites({"attention": parse("btt"), "ffn": parse("kronecker")}, SHAPE)
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
        Candidate.of_sites({"attention": parse("btt"), "ffn": parse("kronecker")}, SHAPE),
        Candidate.of_sites({"attention": parse("kronecker"), "ffn": parse("btt")}, SHAPE),
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
    mixed = Candidate.of_sites({"attention": parse("dense"), "ffn": parse("btt(1/4)")}, SHAPE)
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
    assert Candidate.of_sites({"attention": parse(attention), "ffn": parse(ffn)}, SHAPE).invalid_because() == reason


def readable(einsum: Einsum) -> bool:
    """Two factors on the same indices are written, but refused when they are read: they are one."""
    held = [einsum.of_factor(f) for f in range(einsum.factors)]
    return len({own for own in held if own}) == sum(map(bool, held))


@settings(max_examples=50)
@given(...)
def test_json_is_read_back(attention: Einsum, ffn: Einsum) -> None:
    assume(readable(attention) and readable(ffn))
    candidate = Candidate.of_sites({"attention": attention, "ffn": ffn}, ModelShape(width=32, depth=3, ffn_expansion=2))
    read = Candidate.from_json(json.loads(json.dumps(candidate.to_json())))
    assert read == candidate
    assert read.key == candidate.key


SIX = dict(zip(LAYERS, map(parse, ("dense", "btt", "btt", "kronecker", "btt(1/4)", "low-rank")), strict=True))
"""A structure for every linear layer of a block; two of them alike."""


def test_a_structure_for_each_layer() -> None:
    candidate = Candidate.of_sites(SIX, SHAPE)
    assert candidate.by_layer == candidate.by_site == SIX
    assert candidate.layers()["up"] == operator(parse("btt(1/4)"), 64, 256)
    assert candidate.layers()["o"] == operator(parse("kronecker"), 64, 64)
    assert candidate.label == "q: Dense / k v: BTT rank 1 / o: Kronecker / up: BTT rank d^0.25 / down: Low rank d^0.5"
    assert candidate.theta == (
        "q: dense / k v: (0.5|0|0.5|0|0.5|0.5|0) / o: (0.5|0.5|0|0.5|0.5|0|0) / "
        "up: (0.5|0|0.5|0|0.5|0.5|0.25) / down: (1|0|0|0|1|0|0.5)"
    )
    assert not candidate.is_dense


def test_a_layer_takes_the_structure_of_the_nearest_name() -> None:
    sites = {"all": parse("dense"), "ffn": parse("kronecker"), "down": parse("btt")}
    found = Candidate.of_sites(sites, SHAPE).by_layer
    assert found == dict.fromkeys("qkvo", parse("dense")) | {"up": parse("kronecker"), "down": parse("btt")}
    assert Candidate.of_sites({"all": parse("btt")}, SHAPE) == Candidate.of(parse("btt"), SHAPE)


def test_sites_are_named_apart_only_where_they_differ() -> None:
    apart = Candidate.of_sites({"attention": parse("btt"), "ffn": parse("dense")}, SHAPE)
    assert apart.by_site == {"attention": parse("btt"), "ffn": parse("dense")}
    assert Candidate.of_sites(apart.by_layer, SHAPE) == apart
    assert list(Candidate.of(parse("btt"), SHAPE).by_site) == ["attention", "ffn"]
    assert tuple(Candidate.of_sites({"all": parse("btt"), "v": parse("dense")}, SHAPE).by_site) == LAYERS
    assert tuple(Candidate.of_sites({"all": parse("btt"), "down": parse("dense")}, SHAPE).by_site) == LAYERS
    assert set(SITES) == {"same", "separate", "each"}


@pytest.mark.parametrize(
    ("sites", "message"),
    [
        (
            {"attention": "btt"},
            "layer up has no structure (given: attention); give all, or attention and ffn, or q, k, v, o, up, down",
        ),
        ({}, "layer q has no structure (given: none); give all, or attention and ffn, or q, k, v, o, up, down"),
        (
            {"ffn": "btt", "q": "btt", "k": "btt"},
            "layer v has no structure (given: ffn, q, k); give all, or attention and ffn, or q, k, v, o, up, down",
        ),
    ],
)
def test_a_layer_without_a_structure_is_refused(sites: dict[str, str], message: str) -> None:
    with pytest.raises(EinsearchError) as error:
        Candidate.of_sites({name: parse(text) for name, text in sites.items()}, SHAPE)
    assert str(error.value) == message


def test_an_invalid_layer_is_named() -> None:
    for name in LAYERS:
        sites = dict.fromkeys(LAYERS, parse("btt")) | {name: parse("btt(.51)")}
        reason = Candidate.of_sites(sites, SHAPE).invalid_because()
        assert reason == f"{name}: dearer than dense: nu = 1.01 > 1"
    assert Candidate.of_sites(SIX, SHAPE).invalid_because() is None


def test_six_layers_have_keys_of_their_own() -> None:
    keys = {Candidate.of_sites({"all": parse("btt"), name: parse("dense")}, SHAPE).key for name in LAYERS}
    assert len(keys) == 6
    assert Candidate.of_sites(SIX, SHAPE).canonical().key == Candidate.of_sites(SIX, SHAPE).key


def test_the_forms_of_json() -> None:
    same, six = Candidate.of(parse("btt"), SHAPE), Candidate.of_sites(SIX, SHAPE)
    apart = Candidate.of_sites({"attention": parse("btt(1/3)"), "ffn": parse("monarch(factors=3)")}, SHAPE)
    for candidate, names in ((same, ["attention", "ffn"]), (apart, ["attention", "ffn"]), (six, list(LAYERS))):
        data = candidate.to_json()
        assert list(data) == [*names, "shape"]
        assert Candidate.from_json(json.loads(json.dumps(data))) == candidate
    shape = {"family": "gpt2", "width": 64, "depth": 2, "head_size": 8, "ffn_expansion": 4}
    assert six.to_json()["shape"] == shape
    assert Candidate.from_json({"all": "btt", "shape": shape}) == same
    assert Candidate.from_json({"all": "dense", "o": "btt", "shape": shape}).by_layer["o"] == parse("btt")


def test_json_of_earlier_versions_is_read() -> None:
    """As stores hold it: a structure of attention and one of the FFN, always."""
    data = {
        "attention": "(0.5|0|0.5|0|0.5|0.5|0)",
        "ffn": "a,ab->b; a=1, b=1",
        "shape": {"family": "gpt2", "width": 64, "depth": 2, "head_size": 8, "ffn_expansion": 4},
    }
    assert Candidate.from_json(data) == Candidate.of_sites({"attention": parse("btt"), "ffn": parse("dense")}, SHAPE)
