"""Search spaces: what they propose, what they promise and what they refuse."""

import json
from fractions import Fraction
from itertools import islice

import numpy as np
import pytest

from einsearch.errors import EinsearchError
from einsearch.space.candidate import Candidate, ModelShape
from einsearch.space.classify import Family, classify
from einsearch.space.draws import Drawer
from einsearch.space.families import NAMED
from einsearch.space.parametrization import GRID
from einsearch.space.parse import parse
from einsearch.space.search_space import Choice, Coordinate, SearchSpace, conditions_on_taxonomy, costs_of
from einsearch.space.space_file import load_space, shipped
from einsearch.space.taxonomy import taxonomy


def proposals(space: SearchSpace, count: int) -> list[dict[str, float | int]]:
    """Uniform ones, as a sampler that knows nothing would make them."""
    rng = np.random.default_rng(0)
    return [
        {
            name: int(rng.integers(kind.options)) if isinstance(kind, Choice) else float(rng.random())
            for name, kind in space.parameters().items()
        }
        for _ in range(count)
    ]


def near(found: Candidate, expected: Candidate) -> bool:
    """Equal up to the grid of sampled exponents, which has no third."""
    return found.shape == expected.shape and all(
        a.structure.canonical() == b.structure.canonical()
        and all(abs(p - q) < Fraction(1, GRID) for p, q in zip(sorted(a.theta), sorted(b.theta), strict=True))
        for a, b in zip(found.einsums, expected.einsums, strict=True)
    )


@pytest.mark.parametrize("name", shipped())
def test_every_shipped_space_proposes_valid_candidates(name: str) -> None:
    space = load_space(name).with_widths((32, 64))
    known = list(space.known_first())
    assert len({candidate.key for _, candidate in known}) >= 2
    drawn = list(islice(Drawer(space, np.random.default_rng(0)).valid(), 20))
    for params, candidate in known + drawn:
        assert space.refuses(candidate) is None
        assert set(params) == set(space.parameters())
        assert near(space.candidate(params), candidate)
    for found in (known, drawn):
        assert {candidate.shape.width for _, candidate in found} == {32, 64}
    assert {params["width"] for params, _ in known} == {0, 1}


def test_the_space_of_the_paper() -> None:
    space = load_space("paper")
    assert len(space.structures) == len(set(space.structures)) == 23
    assert not space.continuous
    assert space.widths == ()
    assert space.parameters() == {"width": Choice(0), "all.structure": Choice(23)}
    assert space.with_widths((256,)).count() == 23
    assert [c.by_layer["q"] for _, c in space.with_widths((256,)).known_first()] == list(space.structures)


def test_two_factor_reaches_every_family_of_two_factors() -> None:
    space = load_space("two-factor").with_widths((64,))
    assert space.parameters() == {"width": Choice(1)} | {
        f"all.{name}": Coordinate() for name in ("alpha", "beta", "gamma", "delta", "epsilon", "phi", "rho")
    }
    found = [space.candidate(params) for params in proposals(space, 500)]
    assert {classify(c.by_layer["q"]).family for c in found} == set(Family) - {Family.DENSE}
    assert all(c.by_layer["q"].factors == 2 and c.by_layer["q"] == c.by_layer["up"] for c in found)
    assert {classify(c.by_layer["q"]).family for _, c in space.known_first()} == {
        Family.MONARCH,
        Family.LOW_RANK,
        Family.KRONECKER,
        Family.BTT,
        Family.TENSOR_TRAIN,
    }


def test_btt_never_shares_parameters() -> None:
    space = load_space("btt").with_widths((64,))
    assert "all.beta" not in space.parameters()
    found = [space.candidate(params) for params in proposals(space, 300)]
    found += [candidate for _, candidate in space.known_first()]
    for candidate in found:
        _, beta, _, delta, *_ = candidate.by_layer["q"].theta
        assert beta == delta == 0
        assert taxonomy(candidate.by_layer["q"]).omega == 0


def test_a_proposal_for_what_is_fixed_to_zero_cannot_be_made() -> None:
    space = load_space("btt").with_widths((64,))
    assert set(space.parameters()) == {"width", "all.alpha", "all.gamma", "all.epsilon", "all.phi", "all.rho"}


def test_sites_may_choose_separately() -> None:
    structures = (parse("btt"), parse("kronecker"))
    space = SearchSpace(name="two", structures=structures, sites="separate", widths=(64,), head_size=8)
    params = {"width": 0, "attention.structure": 0, "ffn.structure": 1}
    assert set(space.parameters()) == set(params)
    assert space.candidate(params) == Candidate.of_sites(
        {"attention": structures[0], "ffn": structures[1]}, ModelShape(width=64, head_size=8)
    )
    assert space.count() == 4
    continuous = SearchSpace(name="c", sites="separate", widths=(64,))
    assert len(continuous.parameters()) == 1 + 2 * 7
    assert continuous.count() is None
    mixed = continuous.candidate(
        {"width": 0, "attention.alpha": 0.9, "attention.epsilon": 0.9, "ffn.beta": 0.9, "ffn.delta": 0.9}
    )
    assert (mixed.by_layer["q"].theta[0], mixed.by_layer["up"].theta[1]) == (1, 1)


def test_what_rounds_to_one_operator_counts_once() -> None:
    structures = (parse("btt"), parse("(.49|0|.51|0|.5|.5|0)"), parse("btt(.6)"))  # the last is dearer than dense
    assert SearchSpace(name="s", structures=structures, widths=(64,)).count() == 1
    assert SearchSpace(name="s", structures=structures, widths=(64, 256)).count() == 2


@pytest.mark.parametrize("factors", [2, 3, 4])
def test_the_families_of_so_many_factors_come_first(factors: int) -> None:
    space = SearchSpace(name="many", factors=factors, widths=(64,))
    assert len(space.parameters()) == 1 + 3 * (2**factors - 1) - factors
    assert space.candidate(proposals(space, 1)[0]).by_layer["q"].factors == factors
    known = list(space.known_first())
    named = [NAMED[name](factors=factors) for name in ("btt", "low-rank", "kronecker", "tensor-train")]
    keys = [Candidate.of(einsum, space.shape(64)).key for einsum in named]
    assert [candidate.key for _, candidate in known if candidate.key in keys] == keys
    assert [classify(candidate.by_layer["q"]).family for _, candidate in known] == [
        Family.MONARCH,
        Family.LOW_RANK,
        Family.KRONECKER,
        Family.BTT,
        Family.TENSOR_TRAIN,
    ]
    for params, candidate in known:
        assert near(space.candidate(params), candidate)
        assert factors == 3 or space.candidate(params).key == candidate.key


def test_one_factor_has_nothing_named_to_start_from() -> None:
    assert list(SearchSpace(name="one", factors=1, widths=(64,)).known_first()) == []


def test_a_structure_has_at_most_so_many_indices() -> None:
    space = SearchSpace(name="few", factors=3, max_indices=7, widths=(64,))
    rows = proposals(space, 200)
    found = [len(space.candidate(params).by_layer["q"].indices) for params in rows]
    assert max(found) == 7
    free = SearchSpace(name="all", factors=3, widths=(64,))
    for params, count in zip(rows, found, strict=True):
        einsum = free.candidate(params).by_layer["q"]
        assert count == min(7, len(einsum.indices))
        assert len(einsum.indices) > 7 or space.candidate(params) == free.candidate(params)
    known = [len(candidate.by_layer["q"].indices) for _, candidate in space.known_first()]
    assert known == [6, 4, 6], "BTT of a rank and Tensor-Train have eight"


def test_a_structure_for_each_of_six_layers() -> None:
    structures = (parse("btt"), parse("kronecker"), parse("dense"))
    space = SearchSpace(name="six", structures=structures, sites="each", widths=(64,), head_size=8)
    choice = dict(zip(["q", "k", "v", "o", "up", "down"], (0, 1, 2, 0, 1, 2), strict=True))
    params: dict[str, float | int] = {"width": 0} | {f"{site}.structure": n for site, n in choice.items()}
    assert space.parameters() == {"width": Choice(1)} | {f"{site}.structure": Choice(3) for site in choice}
    expected = {site: structures[n] for site, n in choice.items()}
    assert space.candidate(params).by_layer == expected
    assert space.count() == 3**6
    assert [candidate.by_layer["k"] for _, candidate in space.known_first()] == list(structures)
    continuous = SearchSpace(name="c", sites="each", zero=("beta",), widths=(64,))
    assert len(continuous.parameters()) == 1 + 6 * 6
    assert continuous.searched == ("q", "k", "v", "o", "up", "down")
    alike = dict.fromkeys(continuous.parameters(), 0.9) | {"width": 0}
    assert len(set(continuous.candidate(alike).einsums)) == 1
    assert len(set(continuous.candidate(alike | {"up.gamma": 0.1}).einsums)) == 2


def test_many_combinations_are_not_counted_one_by_one() -> None:
    structures = tuple(parse(f"btt(0.{n})") for n in range(6))
    space = SearchSpace(name="six", structures=structures, sites="each", widths=(64,), head_size=8)
    assert space.count() == 6**6


def test_fixed_sites_are_not_searched() -> None:
    fixed = (("ffn", parse("dense")),)
    space = SearchSpace(name="f", sites="separate", fixed=fixed, widths=(64,))
    assert space.searched == ("attention",)
    assert set(space.parameters()) == {"width"} | {f"attention.{name}" for name in space.coordinates}
    for params, candidate in space.known_first():
        assert set(params) == set(space.parameters())
        assert candidate.by_layer["up"] == candidate.by_layer["down"] == parse("dense")
        assert candidate.by_layer["q"] == candidate.by_layer["o"]
        assert candidate.by_layer["q"].factors == 2
        assert space.candidate(params).key == candidate.key
    listed = SearchSpace(
        name="l",
        structures=(parse("btt"), parse("kronecker")),
        sites="each",
        fixed=(("q", parse("dense")), ("k", parse("dense")), ("down", parse("low-rank"))),
        widths=(64,),
    )
    assert listed.count() == 2**3
    assert listed.candidate({"width": 0, "v.structure": 0, "o.structure": 1, "up.structure": 0}).by_layer == {
        "q": parse("dense"),
        "k": parse("dense"),
        "v": parse("btt"),
        "o": parse("kronecker"),
        "up": parse("btt"),
        "down": parse("low-rank"),
    }


def test_what_a_model_costs() -> None:
    """Width 64, two blocks. Dense: 4 * 64 * 64 + 2 * 64 * 256 a block. Monarch: 2 * 512 a square layer; the
    FFN's have 8 * 8 * 16 and 8 * 16 * 16. Each parameter is used once a token."""
    shape = ModelShape(width=64, head_size=8)
    dense, monarch = 2 * (4 * 64 * 64 + 2 * 64 * 256), 2 * (4 * 1024 + 2 * 3072)
    assert costs_of(Candidate.of(parse("btt"), shape)) == {
        "params": monarch,
        "active_params": monarch,
        "flops": 6 * monarch,
        "dense_params": dense,
        "dense_flops": 6 * dense,
    }
    costs = costs_of(Candidate.of(parse("kronecker"), shape))
    assert costs["flops"] > 6 * costs["params"], "it uses a parameter several times"


@pytest.mark.parametrize(
    ("fields", "text", "reason"),
    [
        ({}, "btt", None),
        ({}, "btt(.6)", "attention: dearer than dense: nu = 1.1 > 1"),
        ({"where": ("omega == 0",)}, "btt", None),
        ({"where": ("omega == 0",)}, "kronecker", "condition 'omega == 0' does not hold"),
        ({"where": ("omega == 0", "psi >= 1/2 and nu < 1/2")}, "low-rank", "condition 'psi >= 1/2 and nu < 1/2' does "),
        ({"where": ("psi >= 0.5",)}, "low-rank", None),
        ({"where": ("psi > 0.5",)}, "low-rank", "condition 'psi > 0.5' does not hold"),
        ({"where": ("params <= 20480",)}, "btt", None),
        ({"where": ("params < 20480",)}, "btt", "condition 'params < 20480' does not hold"),
        ({"where": ("flops * 4.8 == dense_flops",)}, "btt", None),
        ({"where": ("flops / dense_flops < 1/5",)}, "btt", "condition 'flops / dense_flops < 1/5' does not hold"),
        (
            {"where": ("psi / omega > 1",)},
            "btt",
            "condition 'psi / omega > 1', character 1: 'psi / omega' divides by zero",
        ),
    ],
)
def test_what_a_space_refuses(fields: dict[str, object], text: str, reason: str | None) -> None:
    space = SearchSpace(name="s", widths=(64,), head_size=8, **fields)  # type: ignore[arg-type]
    found = space.refuses(Candidate.of(parse(text), space.shape(64)))
    assert found == reason or (reason is not None and found is not None and found.startswith(reason))


def test_a_condition_holds_at_every_searched_site_and_only_there() -> None:
    sites = {"attention": parse("btt"), "ffn": parse("kronecker")}
    both = SearchSpace(name="s", sites="separate", where=("omega == 0",), widths=(64,))
    assert both.refuses(Candidate.of_sites(sites, both.shape(64))) == "condition 'omega == 0' does not hold"
    one = SearchSpace(
        name="s", sites="separate", where=("omega == 0",), fixed=(("ffn", parse("kronecker")),), widths=(64,)
    )
    assert one.refuses(Candidate.of_sites(sites, one.shape(64))) is None
    assert all(candidate.by_layer["up"] == parse("kronecker") for _, candidate in one.known_first())
    six = SearchSpace(name="s", sites="each", where=("omega == 0",), widths=(64,))
    assert six.refuses(Candidate.of_sites({"all": parse("btt"), "o": parse("kronecker")}, six.shape(64))) is not None
    assert six.refuses(Candidate.of(parse("btt"), six.shape(64))) is None


def test_conditions_on_structures_alone() -> None:
    space = SearchSpace(name="s", where=("omega == 0", "flops < dense_flops", "psi == 1 or params < 100", "1 < 2"))
    assert [str(condition) for condition in conditions_on_taxonomy(space)] == ["omega == 0", "1 < 2"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"zero": ("omega",)},
            "unknown exponent 'omega' under zero; known: alpha, beta, gamma, delta, epsilon, phi, rho",
        ),
        (
            {"zero": ("delta", "phi", "epsilon")},
            "every exponent of y is under zero (delta, epsilon, phi), but they sum to 1; leave one out",
        ),
        (
            {"widths": (64, 60), "head_size": 8},
            "width 60 is not divisible by head size 8; use width 56 or 64, or another head size",
        ),
        ({"factors": 0}, "factors is 0; a continuous space has 1 to 4"),
        ({"factors": 5}, "factors is 5; a continuous space has 1 to 4"),
        ({"max_indices": 1}, "max_indices is 1; a structure has at least 2, one of x and one of y"),
        ({"sites": "both"}, "sites is 'both'; choose one of same, separate, each"),
        ({"fixed": (("ffn", parse("dense")),)}, "unknown site 'ffn' under fixed; with sites same: all"),
        (
            {"sites": "each", "fixed": (("attention", parse("dense")),)},
            "unknown site 'attention' under fixed; with sites each: q, k, v, o, up, down",
        ),
        (
            {"sites": "separate", "fixed": (("attention", parse("dense")), ("ffn", parse("btt")))},
            "every site is under fixed; leave one out to search it",
        ),
        (
            {"where": ("omega == 0", "rank == 1")},
            "'rank == 1', character 1: 'rank' is not known here; known: omega, psi, nu, params, active_params, "
            "flops, dense_params, dense_flops",
        ),
        (
            {"where": ("omega = 0",)},
            "'omega = 0', character 7: not a condition; write one as omega == 0 and nu <= 1/2",
        ),
    ],
)
def test_a_space_that_proposes_nothing_is_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(EinsearchError) as error:
        SearchSpace(name="s", **fields)  # type: ignore[arg-type]
    assert str(error.value) == message


@pytest.mark.parametrize("name", shipped())
def test_json_is_read_back(name: str) -> None:
    space = load_space(name).with_widths((32, 64))
    assert SearchSpace.from_json(json.loads(json.dumps(space.to_json()))) == space


def test_every_field_survives_json() -> None:
    space = SearchSpace(
        name="all",
        description="Everything.",
        factors=3,
        zero=("x.A", "BC"),
        max_indices=9,
        where=("omega == 0", "flops < dense_flops"),
        sites="each",
        fixed=(("q", parse("dense")), ("up", parse("btt(1/3)"))),
        widths=(32, 64),
        depth=3,
        head_size=8,
        ffn_expansion=2,
    )
    assert SearchSpace.from_json(json.loads(json.dumps(space.to_json()))) == space
    assert set(space.to_json()) == set(SearchSpace.__dataclass_fields__)


@pytest.mark.parametrize("separate", [True, False])
def test_json_of_earlier_versions_is_read(separate: bool) -> None:
    """As plans in stores hold it: two sites or one, no conditions."""
    data = {
        "name": "two",
        "description": "",
        "structures": ["(0.5|0|0.5|0|0.5|0.5|0)", "a,ab->b; a=1, b=1"],
        "factors": 2,
        "zero": [],
        "separate_sites": separate,
        "widths": [32, 48],
        "depth": 2,
        "head_size": 16,
        "ffn_expansion": 4,
    }
    assert SearchSpace.from_json(data) == SearchSpace(
        name="two",
        structures=(parse("btt"), parse("dense")),
        sites="separate" if separate else "same",
        widths=(32, 48),
    )
    assert data["separate_sites"] is separate, "the argument is left alone"
