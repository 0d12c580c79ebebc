"""einsearch space: what a space holds, as text and as JSON, and what is refused."""

import json
from importlib import import_module

import pytest

from einsearch.space.candidate import Candidate
from einsearch.space.search_space import SearchSpace, costs_of
from einsearch.space.space_file import load_space, shipped


@pytest.fixture(autouse=True)
def few(monkeypatch):
    """A survey of few candidates."""
    monkeypatch.setattr(import_module("einsearch.cli.space"), "_SURVEYED", 12)


@pytest.fixture
def write(tmp_path):
    """Write a search space file."""

    def begin(rest, structures="{continuous: {factors: 2}}"):
        (tmp_path / "space.yaml").write_text(f"name: mine\nstructures: {structures}\n{rest}\n")
        return "space.yaml"

    return begin


def answered(answer):
    assert (answer.code, answer.err) == (0, ""), answer
    return answer.out


@pytest.mark.parametrize("name", shipped())
def test_every_shipped_space(cli, name):
    space = load_space(name)
    found = json.loads(answered(cli("space", name, "--json", "--samples", 5)))
    planned = space.with_widths((64, 96))
    assert SearchSpace.from_json(found["space"]) == planned
    assert found["coordinates"] == sum(parameter != "width" for parameter in space.parameters()) * space.continuous
    assert found["candidates"] == planned.count()
    assert len(found["samples"]) == 5
    for sample in found["samples"]:
        costs = sample.pop("costs")
        candidate = Candidate.from_json(sample)
        assert planned.refuses(candidate) is None
        assert costs == costs_of(candidate)
    assert [Candidate.from_json(data).key for data in found["tried_first"]] == [
        candidate.key for _, candidate in planned.known_first()
    ]
    assert found["candidates_valid"] == 12 <= found["candidates_tried"] <= found["structures_passing"]
    assert found["structures_passing"] <= found["structures_tried"]
    assert sum(found["families"].values()) >= 12

    text = answered(cli("space", name, "--samples", 5))
    assert text.startswith(f"{name}: {space.description}\n")
    assert "widths       64, 96 (here; a study plans them from its budget)" in text
    for condition in space.where:
        assert f"condition    {condition}\n" in text
    for family in found["families"]:
        assert f"\n{family} " in text


def test_two_factor_is_what_is_shown_without_a_name(cli):
    assert answered(cli("space", "--samples", 1)) == answered(cli("space", "two-factor", "--samples", 1))
    text = answered(cli("space"))
    assert "structures   every einsum of 2 factors\n" in text
    assert "sites        one structure for all layers\n" in text
    assert "dimensions   7 coordinates in [0, 1], 1 choice\n" in text
    assert "valid        " in text
    assert "random structures pass; of " in text


def test_samples_and_seed(cli):
    eight, two, none = (answered(cli("space", "--samples", n)).splitlines() for n in (8, 2, 0))
    assert len(eight) - len(two) == 6
    assert len(two) - len(none) == 4, "an empty line, the heads and two samples"
    assert eight[: len(none)] == two[: len(none)] == none
    again = answered(cli("space", "--samples", 4, "--json"))
    assert answered(cli("space", "--samples", 4, "--json")) == again
    other = json.loads(answered(cli("space", "--samples", 4, "--json", "--seed", 1)))
    assert other["samples"] != json.loads(again)["samples"]


def test_a_list_is_counted(cli, write):
    structures = "{list: [{family: btt}, {family: kronecker}, {family: dense}]}"
    path = write("model: {sites: separate, widths: [32]}", structures)
    text = answered(cli("space", path))
    assert "structures   3 listed structures\n" in text
    assert "sites        one structure for each of attention ffn\n" in text
    assert "dimensions   0 coordinates in [0, 1], 3 choices\n" in text
    assert "widths       32\n" in text
    assert "candidates   9\n" in text
    assert json.loads(answered(cli("space", path, "--json")))["candidates"] == 9


def test_what_is_restricted_is_shown(cli, write):
    path = write(
        "where: [psi >= 1/2, params <= dense_params]\nmodel: {sites: each, fixed: {q: dense, up: btt}}",
        "{continuous: {factors: 3, max_indices: 8, zero: [x.ABC, y.ABC]}}",
    )
    text = answered(cli("space", path, "--samples", 1))
    assert text.startswith("mine\n")
    assert "structures   every einsum of 3 factors with at most 8 indices, x.ABC, y.ABC = 0\n" in text
    assert "sites        one structure for each of k v o down\n" in text
    assert "fixed        q: a,ab->b; a=1, b=1\n" in text
    assert "fixed        up: (0.5|0|0.5|0|0.5|0.5|0)\n" in text
    assert "condition    psi >= 1/2\ncondition    params <= dense_params\n" in text
    assert "dimensions   64 coordinates in [0, 1], 1 choice\n" in text
    found = json.loads(answered(cli("space", path, "--json")))
    assert found["coordinates"] == 4 * 16
    assert all(sample["q"] == "a,ab->b; a=1, b=1" for sample in found["samples"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("moon",),
            "unknown search space 'moon'; shipped: all-sites, btt, moe, paper, three-factor, two-factor; or give the",
        ),
        (("moon.yaml",), "no search space file at moon.yaml; shipped spaces: all-sites, btt, moe, paper"),
        (("--samples", -1), "samples -1 and seed 0 may not be negative; give 0 or more"),
        (("--seed", -2), "samples 8 and seed -2 may not be negative; give 0 or more"),
        (("--samples", "few"), "Invalid value for '--samples'"),
        (("--seed",), "Option '--seed' requires an argument"),
        (("btt", "paper"), "Got unexpected extra argument"),
        (("--jsn",), "No such option: --jsn"),
    ],
)
def test_what_is_refused(cli, arguments, message):
    refused(cli("space", *arguments), message)


@pytest.mark.parametrize(
    ("rest", "message"),
    [
        (
            "where: omega == 0 and psi == 1 and nu < 1/2",
            "search space mine is empty: none of 400,000 random structures is valid at widths 64, 96 (condition "
            "'omega == 0 and psi == 1 and nu < 1/2'); relax its conditions or its indices",
        ),
        ("where: omega = 0", "space.yaml line 3, field where: 'omega = 0', character 7: not a condition"),
        ("whre: omega == 0", "space.yaml line 3, field whre: unknown field; known here: name, description, structures"),
        ("model: {sites: some}", "space.yaml line 3, field model.sites: Input should be 'same', 'separate' or 'each'"),
        ("model: {widths: [20]}", "space.yaml line 3, field model: width 20 is not divisible by head size 16"),
        ("model: [", "space.yaml line 4: "),
    ],
)
def test_a_file_that_is_refused(cli, write, rest, message):
    refused(cli("space", write(rest)), message)


def refused(answer, message):
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith("einsearch: ")
    assert answer.err.count("\n") == 1
    assert message in answer.err


def test_mixtures_are_shown(cli, write):
    path = write(
        "mixture: {experts: [4, 8], active: 2, per: [none, layer]}", "{list: [{family: btt}, {family: dense}]}"
    )
    text = answered(cli("space", path))
    assert (
        "mixture      experts 4, 8; active 2; per none, layer; routing learned; balance loss; shared router no\n"
        in text
    )
    assert "dimensions   0 coordinates in [0, 1], 4 choices\n" in text
    assert "candidates   12\n" in text, "two widths, two structures, three mixtures"
    found = json.loads(answered(cli("space", path, "--json")))
    assert found["candidates"] == 12
    assert {Candidate.from_json(data).label for data in found["tried_first"]} == {
        "BTT rank 1",
        "BTT-MoE 2/4",
        "Dense",
        "Dense-MoE 2/4",
    }
    assert "-MoE 2/" in text
