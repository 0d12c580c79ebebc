"""Mixtures of experts: fields that fit together, counts by hand, candidates that hold them."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from einsearch.errors import EinsearchError
from einsearch.space.candidate import Candidate
from einsearch.space.mixture import Counts, Mixture
from einsearch.space.model_shape import LAYERS, ModelShape
from einsearch.space.operator import operator
from einsearch.space.parse import parse

SHAPE = ModelShape(width=64, head_size=8)


def mixtures() -> st.SearchStrategy[Mixture]:
    """Every combination that there is."""
    routings = st.sampled_from([("learned", b) for b in ("loss", "bias", "none")] + [("random", None), ("hash", None)])
    places = st.one_of(
        st.just({"per": "ffn"}),
        st.builds(lambda layers: {"layers": tuple(layers)}, st.lists(st.sampled_from(LAYERS), unique=True)),
        st.booleans().map(lambda shared: {"shared_router": shared}),
    )
    return st.builds(
        lambda idle, active, routing, place: Mixture(
            experts=max(active + idle, 2), active=active, routing=routing[0], balance=routing[1], **place
        ),
        st.integers(0, 30),
        st.integers(1, 4),
        routings,
        places,
    )


st.register_type_strategy(Mixture, mixtures())


def test_what_is_left_out_is_filled_in() -> None:
    plain = Mixture(experts=8, active=2)
    assert (plain.balance, plain.layers) == ("loss", LAYERS)
    assert plain == Mixture(experts=8, active=2, balance="loss", layers=LAYERS)
    assert Mixture(experts=8, active=2, routing="hash").balance == "none"
    assert Mixture(experts=8, active=2, per="ffn").layers == ("up", "down")
    assert Mixture(experts=8, active=2, layers=("down", "q")).layers == ("q", "down"), "in the order of the block"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"experts": 1, "active": 1}, "experts of a mixture is 1; it must be an integer of at least 2"),
        ({"experts": 8.0}, "experts of a mixture is 8.0; it must be an integer of at least 2"),
        ({"active": 0}, "active of a mixture is 0; it must be an integer of at least 1"),
        ({"active": True}, "active of a mixture is True; it must be an integer of at least 1"),
        ({"active": 9}, "a mixture of 8 experts has 9 active; give at least as many experts as active"),
        ({"per": "block"}, "per of a mixture is 'block'; choose one of layer, ffn"),
        ({"routing": "best"}, "routing of a mixture is 'best'; choose one of learned, random, hash"),
        ({"balance": "aux"}, "balance of a mixture is 'aux'; choose one of loss, bias, none"),
        (
            {"routing": "hash", "balance": "bias"},
            "balance is 'bias', but hash routing learns nothing to balance; leave balance out",
        ),
        ({"layers": ("q", "x")}, "layers of a mixture per layer are some of q, k, v, o, up, down, not 'x'"),
        ({"per": "ffn", "layers": ("q",)}, "layers of a mixture per ffn are some of up, down, not 'q'"),
        ({"per": "ffn", "layers": ("up",)}, "an expert per ffn is up and down together, not up alone"),
        (
            {"shared_router": True, "layers": ("q", "up")},
            "shared_router serves q, k and v, but k, v of this mixture per layer hold no experts; "
            "leave shared_router out",
        ),
        (
            {"shared_router": True, "per": "ffn"},
            "shared_router serves q, k and v, but q, k, v of this mixture per ffn hold no experts; "
            "leave shared_router out",
        ),
    ],
)
def test_fields_that_do_not_fit_are_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(EinsearchError) as error:
        Mixture(**({"experts": 8, "active": 2} | fields))  # type: ignore[arg-type]
    assert str(error.value) == message


@given(...)
def test_json_is_read_back(mixture: Mixture) -> None:
    assert Mixture.from_json(json.loads(json.dumps(mixture.to_json()))) == mixture


@pytest.mark.parametrize(
    ("fields", "routers"),
    [
        ({}, {name: (name,) for name in LAYERS}),
        ({"per": "ffn"}, {"ffn": ("up", "down")}),
        ({"layers": ("o", "q")}, {"q": ("q",), "o": ("o",)}),
        ({"shared_router": True}, {"qkv": ("q", "k", "v"), "o": ("o",), "up": ("up",), "down": ("down",)}),
        ({"shared_router": True, "layers": ("q", "k", "v")}, {"qkv": ("q", "k", "v")}),
    ],
)
def test_routers_and_the_layers_they_serve(fields: dict[str, object], routers: dict[str, tuple[str, ...]]) -> None:
    assert Mixture(experts=8, active=2, **fields).routers == routers  # type: ignore[arg-type]


@given(...)
def test_every_layer_of_a_mixture_has_one_router(mixture: Mixture) -> None:
    assert sorted(sum(mixture.routers.values(), ())) == sorted(mixture.layers)


def test_counts_by_hand() -> None:
    """BTT of 64: two factors of 8 * 8 * 8, each used once."""
    mixture, square = Mixture(experts=8, active=2), operator(parse("btt"), 64, 64)
    assert mixture.layer_counts(square) == Counts(parameters=8 * 1024, active_parameters=2 * 1024, macs=2 * 1024)
    assert mixture.router_counts(64) == Counts(parameters=512, active_parameters=512, macs=512)
    shared = operator(parse("kronecker"), 64, 64)  # two factors of 8 * 8, each used 8 times
    assert mixture.layer_counts(shared) == Counts(parameters=8 * 128, active_parameters=2 * 128, macs=2 * 1024)
    for routing in ("random", "hash"):
        assert Mixture(experts=8, active=2, routing=routing).router_counts(64) == Counts()


def test_counts_of_candidates_by_hand() -> None:
    """Width 64, two blocks. BTT: 1,024 a square layer, 8 * 8 * 16 + 8 * 16 * 16 up and down."""
    btt, q = parse("btt"), 1024
    up = 8 * 8 * 16 + 8 * 16 * 16
    plain = Candidate.of(btt, SHAPE).counts()
    assert plain == Counts(
        parameters=2 * (4 * q + 2 * up), active_parameters=2 * (4 * q + 2 * up), macs=2 * (4 * q + 2 * up)
    )
    layers = 2 * (4 * q + 2 * up)
    # Five routers read 64 channels, that of the down projection 256.
    routers = 2 * (5 * 64 + 256) * 8
    found = Candidate.of(btt, SHAPE, Mixture(experts=8, active=2)).counts()
    assert found == Counts(
        parameters=8 * layers + routers, active_parameters=2 * layers + routers, macs=2 * layers + routers
    )
    shared = Candidate.of(btt, SHAPE, Mixture(experts=8, active=2, shared_router=True)).counts()
    assert found.macs - shared.macs == found.parameters - shared.parameters == 2 * 2 * 64 * 8
    hashed = Candidate.of(btt, SHAPE, Mixture(experts=8, active=2, routing="hash")).counts()
    assert (hashed.parameters, hashed.macs) == (8 * layers, 2 * layers)
    some = Candidate.of(btt, SHAPE, Mixture(experts=8, active=2, layers=("o",))).counts()
    assert some.macs == layers + 2 * (q + 64 * 8)
    assert some.parameters == layers + 2 * (7 * q + 64 * 8)


def test_the_standard_mixture_by_hand() -> None:
    """Dense, width 64: four plain 64 x 64, FFNs of 2 * 64 * 256 behind one router of 64 x 8."""
    candidate = Candidate.of(parse("dense"), SHAPE, Mixture(experts=8, active=2, per="ffn"))
    ffn = 2 * 64 * 256
    assert candidate.counts() == Counts(
        parameters=2 * (4 * 4096 + 8 * ffn + 512),
        active_parameters=2 * (4 * 4096 + 2 * ffn + 512),
        macs=2 * (4 * 4096 + 2 * ffn + 512),
    )
    counts = candidate.layer_counts()
    assert counts["q"].parameters == counts["q"].active_parameters == 4096
    assert counts["up"].parameters == 4 * counts["up"].active_parameters == 8 * 64 * 256
    assert list(candidate.router_counts()) == ["ffn"]
    assert Candidate.dense(SHAPE).router_counts() == {}


@given(...)
def test_counts_are_between_those_of_one_and_of_all_experts(mixture: Mixture) -> None:
    plain, found = Candidate.of(parse("btt"), SHAPE).counts(), Candidate.of(parse("btt"), SHAPE, mixture).counts()
    routers = Counts.sum(Candidate.of(parse("btt"), SHAPE, mixture).router_counts().values()).macs * SHAPE.depth
    assert plain.macs <= found.macs - routers <= mixture.active * plain.macs
    assert plain.parameters < found.parameters - routers <= mixture.experts * plain.parameters
    assert found.active_parameters <= found.parameters


@pytest.mark.parametrize(
    ("structure", "fields", "label"),
    [
        ("btt", {}, "BTT-MoE 2/8"),
        ("dense", {}, "Dense-MoE 2/8"),
        ("dense", {"per": "ffn"}, "Standard MoE 2/8"),
        ("btt", {"per": "ffn"}, "BTT-MoE 2/8 per FFN"),
        ("low-rank", {}, "Low rank d^0.5, MoE 2/8"),
        ("btt(1/4)", {"routing": "hash"}, "BTT rank d^0.25, MoE 2/8, hash routing"),
        ("btt", {"balance": "bias", "shared_router": True}, "BTT-MoE 2/8, bias balance, shared router"),
        ("btt", {"balance": "none", "layers": ("o", "up")}, "BTT-MoE 2/8 on o up, no balance"),
        ("dense", {"per": "ffn", "routing": "random"}, "Standard MoE 2/8, random routing"),
    ],
)
def test_names_for_people(structure: str, fields: dict[str, object], label: str) -> None:
    candidate = Candidate.of(parse(structure), SHAPE, Mixture(experts=8, active=2, **fields))  # type: ignore[arg-type]
    assert candidate.label == label
    assert candidate.theta == Candidate.of(parse(structure), SHAPE).theta
    assert not candidate.is_dense


def test_names_of_mixtures_with_several_structures() -> None:
    sites = {"attention": parse("dense"), "ffn": parse("btt")}
    assert Candidate.of_sites(sites, SHAPE, Mixture(experts=8, active=1)).label == "Dense / BTT rank 1, MoE 1/8"


def test_keys_of_plain_candidates_are_what_they_were() -> None:
    """As stores hold them."""
    keys = {
        Candidate.dense(SHAPE): "5c4dbd603a92",
        Candidate.of(parse("btt"), SHAPE): "6d36e99dbaf4",
        Candidate.of_sites({"attention": parse("btt(1/4)"), "ffn": parse("kronecker")}, SHAPE): "19553a1ab341",
        Candidate.of_sites(
            {"all": parse("dense"), "o": parse("low-rank")}, ModelShape(width=96, depth=3)
        ): "95499dee1fd8",
    }
    assert {candidate: candidate.key for candidate in keys} == keys
    assert all("mixture" not in candidate.to_json() for candidate in keys)


def test_different_keys_for_what_trains_differently() -> None:
    fields = [
        {},
        {"experts": 16},
        {"active": 3},
        {"per": "ffn"},
        {"routing": "random"},
        {"routing": "hash"},
        {"balance": "bias"},
        {"balance": "none"},
        {"shared_router": True},
        {"layers": ("up", "down")},
    ]
    mixed = [Mixture(**({"experts": 8, "active": 2} | changes)) for changes in fields]  # type: ignore[arg-type]
    keys = [Candidate.of(parse("btt"), SHAPE, mixture).key for mixture in [None, *mixed]]
    assert len(set(keys)) == len(keys) == 11
    spelled = Mixture(experts=8, active=2, balance="loss", layers=LAYERS)
    assert Candidate.of(parse("btt"), SHAPE, spelled).key == keys[1]


@given(...)
def test_a_candidate_with_a_mixture_is_read_back(mixture: Mixture) -> None:
    candidate = Candidate.of_sites({"attention": parse("btt"), "ffn": parse("dense")}, SHAPE, mixture)
    read = Candidate.from_json(json.loads(json.dumps(candidate.to_json())))
    assert read == candidate
    assert read.key == candidate.key == candidate.canonical().key
    assert candidate.at_width(96).mixture == mixture
    assert [name for name in LAYERS if candidate.mixture_of(name)] == list(mixture.layers)


def test_an_expert_may_not_be_dearer_than_dense_but_a_mixture_may() -> None:
    mixture = Mixture(experts=8, active=4)
    assert Candidate.of(parse("dense"), SHAPE, mixture).invalid_because() is None
    dear = Candidate.of(parse("btt(.51)"), SHAPE, mixture)
    assert dear.invalid_because() == "attention: dearer than dense: nu = 1.01 > 1"
