"""Search space files: what may be written, and errors that name file, line and field."""

from pathlib import Path

import pytest

from einsearch.errors import EinsearchError
from einsearch.space.families import btt
from einsearch.space.parse import parse
from einsearch.space.search_space import SearchSpace
from einsearch.space.space_file import load_space, read_space, shipped

LIST = "name: mine\nstructures:\n  list:\n"
CONTINUOUS = "name: mine\nstructures:\n  continuous:\n"
BTT = "name: mine\nstructures: {list: [{family: btt}]}\n"


def test_every_field() -> None:
    text = """
name: mine
description: Two structures.
structures:
  list:
    - {theta: (.5|0|.5|0|.5|.5|0)}
    - {theta: "a,ab->b; a=1, b=1"}
    - {theta: kronecker}
    - {family: btt, rank: 1/3}
    - {family: btt, rank: 0.25}
    - {family: low-rank}
model:
  widths: [32, 48]
  depth: 3
  head_size: 16
  ffn_expansion: 2
  sites: separate
"""
    assert read_space(text, "mine.yaml") == SearchSpace(
        name="mine",
        description="Two structures.",
        structures=(
            btt(),
            parse("dense"),
            parse("kronecker"),
            parse("btt(1/3)"),
            parse("btt(1/4)"),
            parse("low-rank(1/2)"),
        ),
        sites="separate",
        widths=(32, 48),
        depth=3,
        head_size=16,
        ffn_expansion=2,
    )


def test_what_is_left_out_has_a_default() -> None:
    assert read_space("name: c\nstructures: {continuous: {}}\n", "c.yaml") == SearchSpace(name="c", factors=2)
    assert read_space(f"{CONTINUOUS}    factors: 3\n    zero: [x.A]\n", "c.yaml") == SearchSpace(
        name="mine", factors=3, zero=("x.A",)
    )


def test_conditions_indices_and_sites() -> None:
    text = """
name: mine
structures:
  continuous:
    factors: 3
    max_indices: 9
where:
  - omega == 0 and psi == 1
  - params <= dense_params / 2
model:
  sites: each
  fixed: {q: dense, k: "(1|0|0|0|1|0|1/3)", down: "btt(1/4, factors=3)"}
"""
    assert read_space(text, "mine.yaml") == SearchSpace(
        name="mine",
        factors=3,
        max_indices=9,
        where=("omega == 0 and psi == 1", "params <= dense_params / 2"),
        sites="each",
        fixed=(("q", parse("dense")), ("k", parse("low-rank(1/3)")), ("down", parse("btt(1/4, factors=3)"))),
    )


def test_one_condition_needs_no_list() -> None:
    one, many = (read_space(f"{BTT}where: {text}\n", "c.yaml") for text in ("nu < 1/2", "[nu < 1/2]"))
    assert one == many
    assert one.where == ("nu < 1/2",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        # The file
        ("", " line 1: the file holds no fields; write `name: ...` and the rest"),
        ("- btt\n", " line 1: the file holds no fields; write `name: ...` and the rest"),
        ("name: mine\nlist: [1\n", " line 3: expected ',' or ']', but got '<stream end>'"),
        ("name: mine\n\x00", ": not valid YAML: special characters are not allowed"),
        ("name: 2024-13-01\n", ": not valid YAML: month must be in 1..12"),
        ("name: mine\n[1, 2]: 3\n", " line 2: a field's name is a list or a mapping; write text"),
        ("name: mine\nname: yours\n", " line 2: field 'name' is given twice"),
        (f"{LIST}    - {{family: btt, family: dense}}\n", " line 4: field 'family' is given twice"),
        (
            "name: !!python/object/apply:os.getcwd []\n",
            " line 1: could not determine a constructor for the tag 'tag:yaml.org,2002:python/object/apply:os.getcwd'",
        ),
        # Fields
        (
            f"{BTT}modle: {{}}\n",
            " line 3, field modle: unknown field; known here: name, description, structures, where, mixture, model",
        ),
        ("name: mine\n", " line 1, field structures: missing; add it"),
        ("name: mine\nstructures: {}\n", " line 2, field structures: give either list or continuous"),
        (
            "name: mine\nstructures:\n  list: []\n",
            " line 2, field structures: the list is empty; name at least one structure",
        ),
        (
            f"{LIST}    - {{family: btt}}\n  continuous: {{}}\n",
            " line 2, field structures: give either list or continuous",
        ),
        ("name: 7\nstructures: {continuous: {}}\n", " line 1, field name: Input should be a valid string"),
        # Structures
        (
            f"{LIST}    - {{family: btt, rnak: 1}}\n",
            " line 4, field structures.list.0.rnak: unknown field; known here: theta, family, rank",
        ),
        (
            f"{LIST}    - {{family: btt}}\n    - {{family: bttt}}\n",
            " line 5, field structures.list.1: unknown family 'bttt'; "
            "known: dense, low-rank, kronecker, tensor-train, monarch, btt",
        ),
        (
            f"{LIST}    - {{theta: (.5|0|.4|0|.5|.5|0)}}\n",
            " line 4, field structures.list.0: exponents of x sum to 0.9, not 1: (0.5, 0.4); "
            "raise or lower alpha, beta or gamma",
        ),
        (
            f"{LIST}    - {{theta: (.5|0|.5|0|.5|.5|.nan)}}\n",
            " line 4, field structures.list.0: exponent rho is not a number: .nan; write a decimal or a fraction",
        ),
        (
            f"{LIST}    - family: btt\n      rank: .inf\n",
            " line 4, field structures.list.0: exponent rank of btt is not finite: inf; write a decimal or a fraction",
        ),
        (
            f"{LIST}    - {{family: dense, rank: 1}}\n",
            " line 4, field structures.list.0: family dense takes no rank, but '1.0' was given; write dense",
        ),
        (
            f"{LIST}    - {{theta: btt, rank: 1}}\n",
            " line 4, field structures.list.0: rank goes with family; theta has its own rho",
        ),
        (f"{LIST}    - {{rank: 1}}\n", " line 4, field structures.list.0: give either theta or family"),
        # A continuous space
        (
            f"{CONTINUOUS}    factors: 5\n",
            " line 3, field structures.continuous: factors is 5; a continuous space has 1 to 4",
        ),
        (
            f"{CONTINUOUS}    max_indices: 1\n",
            " line 3, field structures.continuous: max_indices is 1; a structure has at least 2, one of x and one of y",
        ),
        (
            f"{CONTINUOUS}    max_indices: many\n",
            " line 4, field structures.continuous.max_indices: Input should be a valid integer",
        ),
        (
            f"{LIST}    - {{family: btt}}\n  max_indices: 3\n",
            " line 5, field structures.max_indices: unknown field; known here: list, continuous",
        ),
        (
            f"{CONTINUOUS}    zero: [beta, bta]\n",
            " line 3, field structures.continuous: unknown exponent 'bta' under zero; "
            "known: alpha, beta, gamma, delta, epsilon, phi, rho",
        ),
        (
            f"{CONTINUOUS}    zero: [alpha, beta, gamma]\n",
            " line 3, field structures.continuous: every exponent of x is under zero (alpha, beta, gamma), "
            "but they sum to 1; leave one out",
        ),
        # Conditions
        (
            f"{BTT}where: omega = 0\n",
            " line 3, field where: 'omega = 0', character 7: not a condition; write one as omega == 0 and nu <= 1/2",
        ),
        (
            f"{BTT}where:\n  - nu < 1\n  - rank == 1\n",
            " line 3, field where: 'rank == 1', character 1: 'rank' is not known here; "
            "known: omega, psi, nu, params, active_params, flops, dense_params, dense_flops",
        ),
        (
            f"{BTT}where: __import__('os').getcwd() == 0\n",
            """ line 3, field where: "__import__('os').getcwd() == 0", character 1: "__import__('os').getcwd()" """
            "is no number; write decimals, names and + - * /",
        ),
        (f"{BTT}where: 7\n", " line 3, field where: Input should be a valid list"),
        (f"{BTT}where:\n  - nu < 1\n  - 7\n", " line 5, field where.1: Input should be a valid string"),
        # The model
        (
            f"{BTT}model:\n  widths: [64, 60]\n  head_size: 8\n",
            " line 3, field model: width 60 is not divisible by head size 8; use width 56 or 64, or another head size",
        ),
        (f"{BTT}model:\n  widths: [64, x]\n", " line 4, field model.widths.1: Input should be a valid integer"),
        (
            f"{BTT}model:\n  depth: 0\n",
            " line 4, field model.depth: Input should be greater than or equal to 1",
        ),
        (f"{BTT}model:\n  sites: both\n", " line 4, field model.sites: Input should be 'same', 'separate' or 'each'"),
        (
            f"{BTT}model:\n  heads: 2\n",
            " line 4, field model.heads: unknown field; known here: widths, depth, head_size, ffn_expansion, sites, "
            "fixed",
        ),
        (
            f"{BTT}model:\n  fixed: {{ffn: dense}}\n",
            " line 3, field model: unknown site 'ffn' under fixed; with sites same: all",
        ),
        (
            f"{BTT}model:\n  sites: separate\n  fixed: {{ffn: dense, attention: btt}}\n",
            " line 3, field model: every site is under fixed; leave one out to search it",
        ),
        (
            f"{BTT}model:\n  sites: each\n  fixed: {{up: bttt}}\n",
            " line 3, field model: unknown structure 'bttt'; give a family (dense, low-rank, kronecker, tensor-train, "
            "monarch, btt), a theta (alpha|beta|gamma|delta|epsilon|phi|rho) or an einsum string with exponents",
        ),
        (
            f"{BTT}model:\n  sites: each\n  fixed:\n    up: 3\n",
            " line 6, field model.fixed.up: Input should be a valid string",
        ),
        (f"{BTT}model:\n  fixed: [ffn]\n", " line 4, field model.fixed: Input should be a valid dictionary"),
    ],
)
def test_an_error_names_file_line_field_and_fix(text: str, message: str) -> None:
    with pytest.raises(EinsearchError) as error:
        read_space(text, "mine.yaml")
    assert str(error.value) == f"mine.yaml{message}"


def test_loading(tmp_path: Path) -> None:
    assert shipped() == ["all-sites", "btt", "moe", "paper", "three-factor", "two-factor"]
    path = tmp_path / "mine.yaml"
    path.write_text("name: mine\nstructures: {list: [{family: btt}]}\n", encoding="utf-8")
    assert load_space(path) == load_space(str(path))
    assert load_space(path).structures == (parse("btt"),)
    with pytest.raises(
        EinsearchError, match=r"^no search space file at .*none\.yaml; shipped spaces: all-sites, btt, moe, paper, t"
    ):
        load_space(tmp_path / "none.yaml")
    with pytest.raises(EinsearchError) as error:
        load_space("papper")
    assert str(error.value) == (
        "unknown search space 'papper'; shipped: all-sites, btt, moe, paper, three-factor, two-factor; "
        "or give the path of a .yaml file"
    )
    path.write_bytes(b"name: \xff\n")
    with pytest.raises(EinsearchError, match=r"^cannot read search space .*mine\.yaml: .*; give a UTF-8 text file$"):
        load_space(path)
