"""`einsearch analyze`, as a person uses it by hand."""

import json

import pytest

GENERAL = "gba,agdfr,bgefr->def; a=1/2, g=1/4, b=1/4, d=1/4, e=1/2, f=1/4, r=1/4"


def test_what_a_monarch_is(cli):
    answer = cli("analyze", "(1/2|0|1/2|0|1/2|1/2|0)", "--d-in", 768, "--d-out", 3072)
    assert (answer.code, answer.err) == (0, "")
    for said in (
        "BTT rank 1: beta = delta = rho = 0: two block-diagonal factors",
        "no parameter sharing: omega = F - N = 1.5 - 1.5 = 0",
        "contracting in the order x A B",
        "the minimum cut: α + γ (between x and the rest)",
        "a32 g24 e64 f48",
        "110,592",
        "768 of 768 (proven)",
        "at least 768: paths a-f x32, g-e x24",
        "(x A) B",
    ):
        assert said in answer.out


def test_json_of_several_layers_is_exact(cli):
    answer = cli(
        "analyze", GENERAL, "--d-in", 768, "--d-in", 1024, "--d-out", 3072, "--d-out", 1024, "--format", "json"
    )
    data = json.loads(answer.out)
    assert (data["omega"], data["psi"], data["nu"]) == ("1/4", "1", "3/4")
    assert (data["N"], data["F"], data["order"]) == ("3/2", "7/4", ["A", "B"])
    assert data["exponents"] == {"a": "1/2", "b": "1/4", "g": "1/4", "d": "1/4", "e": "1/2", "f": "1/4", "r": "1/4"}
    assert [(layer["d_in"], layer["d_out"]) for layer in data["layers"]] == [(768, 3072), (1024, 1024)]
    for layer in data["layers"]:
        sizes = layer["sizes"]
        assert sizes["a"] * sizes["b"] * sizes["g"] == layer["d_in"]
        assert layer["tree_macs_per_vector"] <= layer["macs_per_vector"]


def test_thirds_are_thirds_and_decimals_decimals(cli):
    thirds = json.loads(cli("analyze", "(1/3|0|2/3|0|2/3|1/3|0)", "--format", "json").out)
    decimals = json.loads(cli("analyze", "(.33|0|.67|0|.67|.33|0)", "--format", "json").out)
    assert (thirds["nu"], decimals["nu"]) == ("2/3", "67/100")


def test_closed_forms_of_a_string_without_exponents(cli):
    answer = cli("analyze", "abc,abcf,bcef,cdef->def")
    assert "min(1, b + c + f, c + e + f)" in answer.out
    assert r"\nu = 1 - \min\left(a + b, a + d, d + e\right)" in answer.out
    data = json.loads(cli("analyze", "abc,abcf,bcef,cdef->def", "--format", "json").out)
    assert data["symbolic"]["sympy"]["omega"] == "0"
    assert data["symbolic"]["holds"] == ["BTT rank 1", "BTT"]
    assert "layers" not in data


def test_symbolic_beside_the_numbers(cli):
    answer = cli("analyze", "btt(1/4)", "--symbolic")
    assert "1 + ρ - min(α, ε)" in answer.out
    assert "0.75  = F - 1" in answer.out


def test_sizes_by_hand_and_a_rank_that_no_proof_decides(cli):
    arguments = ("analyze", "ab,adr,ber->de", "--sizes", "a=5, b=3, d=3, e=5, r=2")
    assert "to 15 of 15 (bounds; --measure-rank decides)" in cli(*arguments).out
    measured = cli(*arguments, "--measure-rank").out
    assert "14 of 15 (measured)" in measured
    assert "wrong with probability" in measured


def test_few_vectors_may_be_merged(cli):
    arguments = ("analyze", "low-rank(9/10)", "--d-in", 64, "--batch")
    assert "(x A) B" in cli(*arguments, 1).out
    many = cli(*arguments, 4096).out
    assert "x (A B)" in many
    assert "from 135 vectors on" in many


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("a1,ab->b",), "'a1,ab->b', character 2 ('1'): an operand is made of letters"),
        (("ag,agf,agf->f",), "character 8 ('agf'): factor 2 repeats factor 1"),
        (("ab,ab->b",), "index 'b' joins x and y"),
        (("a,ab->b; a=1",), "no exponent for index 'b'; add `b=1` behind the semicolon"),
        (("a,ab->b; a=1, b=1, b=1",), "exponent of 'b' is given twice"),
        (("a,ab->b; a=1/2, b=1",), "exponents of x sum to 0.5, not 1: a=0.5"),
        (("btt", "--d-out", 3), "d-out 3 without d-in; give --d-in too"),
        (("btt", "--d-in", 4, "--d-in", 8, "--d-in", 9, "--d-out", 4, "--d-out", 8), "3 values of d-in and 2 of d-out"),
        (("btt", "--d-in", 0), "d_in is 0; a dimension is a positive integer"),
        (("ag,agf,gef->ef", "--d-in", 64), "an einsum string without exponents has no sizes"),
        (("btt", "--sizes", "a=2,g=2,e=2,f=3", "--d-in", 5), "sizes of x multiply to 4, not d_in 5: a=2, g=2"),
        (("btt", "--sizes", "a=2,g=2,e=2,f=3", "--d-in", 4, "--d-in", 4), "sizes are those of one layer"),
        (("btt", "--d-in", 64, "--batch", 0), "batch is 0; give the number of input vectors, 1 or more"),
        (("btt", "--d-in", 64, "--dtype", "int8"), "unknown type 'int8'; known: bf16, fp16, fp32, fp64"),
        (("nonsense",), "unknown structure 'nonsense'"),
        (("btt", "--format", "xml"), "Invalid value for '--format'"),
    ],
)
def test_bad_input_is_one_line_that_says_where(cli, arguments, message):
    answer = cli("analyze", *arguments)
    assert (answer.code, answer.out) == (2, "")
    assert message in answer.err
    assert answer.err.count("\n") == 1
