"""einsearch enumerate: three formats that agree, counts, conditions, and what is refused."""

import csv
import io
import json
import re

import pytest

from einsearch.space.closed_forms import closed_forms
from einsearch.space.constraint import Constraint
from einsearch.space.contained import contained_families
from einsearch.space.enumeration import count_structures, structures
from einsearch.space.feasible import NAMES, values_of
from einsearch.space.parse import parse, parse_structure

CHEAP_FULL_RANK = "omega == 0 and psi == 1 and nu < 1/2"


def answered(answer):
    assert (answer.code, answer.err) == (0, ""), answer
    return answer.out


def as_json(cli, *options):
    return json.loads(answered(cli("enumerate", *options, "--format", "json")))


def as_csv(cli, *options):
    return list(csv.DictReader(io.StringIO(answered(cli("enumerate", *options, "--format", "csv")))))


def as_table(cli, *options):
    """The rows of the table as lists of cells, its heads first."""
    return [re.split(" {2,}", line.strip()) for line in answered(cli("enumerate", *options)).splitlines()]


@pytest.mark.parametrize("options", [(), ("--factors", 3, "--max-indices", 4), ("--factors", 1), ("--where", "psi==1")])
def test_the_formats_agree(cli, options):
    rows = as_json(cli, *options)
    assert [row["number"] for row in rows] == list(range(1, len(rows) + 1))
    flat = [
        {name: "; ".join(value) if isinstance(value, list) else str(value) for name, value in row.items()}
        for row in rows
    ]
    assert as_csv(cli, *options) == flat
    heads, *table = as_table(cli, *options)
    exponents = ["exponents"] if "--where" in options else []
    assert heads == ["#", "indices", "einsum", "kinds of index", "holds", *exponents, "omega, psi, nu"]
    assert table == [
        [
            str(row["number"]),
            str(row["indices"]),
            row["einsum"],
            " ".join(row["kinds"]),
            ", ".join(row["contains"]) or "-",
            *(row[name] for name in exponents),
            f"ω = {row['omega']}; ψ = {row['psi']}; ν = {row['nu']}",
        ]
        for row in rows
    ]


def test_rows_say_what_the_library_says(cli):
    rows = as_json(cli)
    assert len(rows) == 40
    for row, structure in zip(rows, structures(2), strict=True):
        assert parse_structure(row["einsum"]) == structure
        assert row["indices"] == len(structure.indices)
        assert row["kinds"] == [index.name for index in structure.indices]
        assert row["contains"] == [family.value for family in contained_families(structure)]
        assert {name: row[name] for name in ("N", "F", "omega", "psi", "nu")} == closed_forms(structure).texts()
        transposed = str(structure.transpose().canonical())
        assert row["transpose"] == ("itself" if transposed == row["einsum"] else transposed)
        assert "exponents" not in row


def test_one_of_each_pair_of_transposes(cli):
    rows = as_json(cli, "--up-to", "transpose")
    assert len(rows) == 24
    listed = {row["einsum"] for row in rows}
    assert all(row["transpose"] == "itself" or row["transpose"] not in listed for row in rows)
    assert as_json(cli, "--up-to", "renaming") == as_json(cli)


def test_the_most_indices(cli):
    rows = as_json(cli, "--max-indices", 4)
    assert rows == as_json(cli)[: len(rows)]
    assert len(rows) == 1 + 7 + 14
    assert as_json(cli, "--max-indices", 100) == as_json(cli)


@pytest.mark.parametrize("options", [(), ("--factors", 3), ("--factors", 4, "--max-indices", 5)])
def test_counts(cli, options):
    factors = dict(zip(options[::2], options[1::2], strict=True))
    expected = count_structures(factors.get("--factors", 2), factors.get("--max-indices"))
    total = sum(expected.values())
    found = json.loads(answered(cli("enumerate", *options, "--count", "--format", "json")))
    assert found == {
        "factors": factors.get("--factors", 2),
        "structures": {str(m): n for m, n in expected.items()},
        "total": total,
    }
    rows = answered(cli("enumerate", *options, "--count", "--format", "csv")).splitlines()
    assert rows == ["indices,structures", *(f"{m},{n}" for m, n in expected.items())]
    lines = answered(cli("enumerate", *options, "--count")).splitlines()
    assert [line.split() for line in lines[:-1]] == [[str(m), "indices", f"{n:,}"] for m, n in expected.items()]
    assert lines[-1].split()[:2] == ["all", f"{total:,}"]


def test_the_last_line_of_the_counts_says_of_how_many(cli):
    answer = answered(cli("enumerate", "--factors", 3, "--count"))
    assert answer.splitlines()[-1].split(maxsplit=2) == ["all", "40,386", "(of 258,064 sets of kinds)"]
    assert (
        json.loads(answered(cli("enumerate", "--factors", 3, "--count", "--up-to", "transpose", "--format", "json")))[
            "total"
        ]
        == 20_512
    )


@pytest.mark.parametrize(
    ("options", "condition"),
    [
        ((), "omega == 0 and psi == 1 and nu == 1/2"),
        ((), "omega > 0 and psi < 0.3 or indices == 3 and nu >= 3/7"),
        (("--factors", 3, "--max-indices", 4), "omega == 0 and psi > 3/5 and nu <= 2/3"),
    ],
)
def test_exponents_can_be_read_and_meet_the_condition(cli, options, condition):
    rows = as_json(cli, *options, "--where", condition)
    every = [row["einsum"] for row in as_json(cli, *options)]
    assert 0 < len(rows) < len(every)
    assert [row["einsum"] for row in rows] == [text for text in every if text in {row["einsum"] for row in rows}]
    for row in rows:
        einsum = parse(f"{row['einsum']}; {row['exponents']}")
        assert einsum.structure == parse_structure(row["einsum"])
        assert Constraint.parse(condition, NAMES).holds(values_of(einsum))
    counted = json.loads(answered(cli("enumerate", *options, "--where", condition, "--count", "--format", "json")))
    assert counted["total"] == len(rows)
    assert sum(counted["structures"].values()) == len(rows)


def test_where_nothing_is_found(cli):
    nothing = ("--where", CHEAP_FULL_RANK)
    assert as_json(cli, *nothing) == []
    assert as_csv(cli, *nothing) == []
    assert as_table(cli, *nothing)[1:] == [["none"]]
    assert json.loads(answered(cli("enumerate", *nothing, "--count", "--format", "json")))["total"] == 0
    assert answered(cli("enumerate", *nothing, "--count")).split()[:2] == ["all", "0"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--factors", 0), "factors is 0; a structure has at least one factor"),
        (("--factors", -1), "factors is -1; a structure has at least one factor"),
        (("--factors", 7), "factors is 7; structures of at most 6 factors are enumerated"),
        (("--factors", 10**30), "structures of at most 6 factors are enumerated"),
        (
            ("--factors", 4),
            "4 factors have about 9.2e+10 structures; enumeration ends at 2e+07; give at most 9 indices "
            "(--max-indices 9)",
        ),
        (("--factors", 5, "--max-indices", 7, "--count"), "5 factors and at most 7 indices have about "),
        (("--max-indices", 1), "at most 1 indices: a structure has at least 2, one of x and one of y"),
        (("--max-indices", 0, "--count"), "at most 0 indices: a structure has at least 2"),
        (("--where", "omega = 0"), "'omega = 0', character 7: not a condition; write one as omega == 0 and nu <= 1/2"),
        (("--where", "rank == 1"), "'rank' is not known here; known: omega, psi, nu, indices"),
        (("--where", ""), "'', character 1: not a condition"),
        (("--where", "omega\n== \n0 +"), "'omega == 0 +', character "),
        (("--where", "omega * psi < -1"), "'omega * psi' is not linear; multiply and divide by numbers only"),
        (("--where", "omega < 1/0"), "'1/0' divides by zero; divide by something else"),
        (("--where", "exec('print(1)')"), "\"exec('print(1)')\" is no condition; compare, as omega == 0"),
        (("--where", "omega < " + "9" * 5000), "a condition of 5,008 characters"),
        (("--where", "omega == 0", "--count", "--max-indices", "many"), "Invalid value for '--max-indices'"),
        (("--factors", "two"), "Invalid value for '--factors'"),
        (("--factors", 2.5), "Invalid value for '--factors'"),
        (("--factors",), "Option '--factors' requires an argument"),
        (("--up-to", "isomorphism"), "'isomorphism' is not one of 'renaming', 'transpose'"),
        (("--format", "yaml"), "'yaml' is not one of 'table', 'json', 'csv'"),
        (("--wherever", "1"), "No such option: --wherever"),
        ((3,), "Got unexpected extra argument"),
    ],
)
def test_what_is_refused(cli, options, message):
    answer = cli("enumerate", *options)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith("einsearch: ")
    assert answer.err.count("\n") == 1
    assert message in answer.err
