from dataclasses import replace
from pathlib import Path

import pytest

from einsearch.errors import EinsearchError
from einsearch.proxy.protocol import Protocol
from einsearch.search.config import StudyConfig, parse_flops, read_study_file, write_flops


@pytest.mark.parametrize(
    ("text", "flops"),
    [
        ("4e12", 4 * 10**12),
        ("2.5e11", 250_000_000_000),
        ("4000000000001", 4_000_000_000_001),
        ("1", 1),
        (3e9, 3 * 10**9),
        (" 1E3 ", 1000),
        ("1_000", 1000),
        (10**30, 10**30),
    ],
)
def test_flops_are_read_exactly(text, flops):
    assert parse_flops(text) == flops


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("abc", "budget is no number: abc; write FLOPs as in 4e12"),
        ("", "budget is no number: ; write FLOPs as in 4e12"),
        ("-1", "budget is -1; it must be a positive number of FLOPs, as in 4e12"),
        ("0.5", "budget is 0.5; it must be a positive number of FLOPs, as in 4e12"),
        ("nan", "budget is nan; it must be a positive number of FLOPs, as in 4e12"),
        ("inf", "budget is inf; it must be a positive number of FLOPs, as in 4e12"),
        ("1e40", "budget is 1e40; more than 1e36 FLOPs cannot be booked"),
    ],
)
def test_what_is_no_budget_is_refused(text, message):
    with pytest.raises(EinsearchError) as error:
        parse_flops(text)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("flops", "text"), [(4 * 10**12, "4e12"), (277777777777, "2.78e11"), (1, "1e0"), (999_999, "1e6")]
)
def test_flops_for_people(flops, text):
    assert write_flops(flops) == text


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({}, "two-factor-2e12"),
        ({"budget": 10**17, "seed": 3}, "two-factor-1e17-seed3"),
        ({"space": "folder/mine.yaml"}, "mine-2e12"),
        ({"name": "own"}, "own"),
    ],
)
def test_a_name_is_made_of_space_budget_and_seed(changes, name):
    assert StudyConfig(**changes).name == name


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "a/b"}, "study name 'a/b' must be usable as a folder's name; use letters and digits"),
        ({"name": ".."}, "study name '..' must be usable as a folder's name; use letters and digits"),
        ({"name": " "}, "study name ' ' must be usable as a folder's name; use letters and digits"),
        ({"budget": 0}, "budget is 0; it must be a positive number of FLOPs"),
        ({"seed": -1}, "seed is -1; it must lie between 0 and 2^32 - 1"),
        ({"seed": 2**32}, "seed is 4294967296; it must lie between 0 and 2^32 - 1"),
        ({"reduction": 0}, "reduction is 0; it must be at least 1"),
        ({"rungs": (2, 1)}, "rungs [2, 1] must be positive FLOPs in ascending order"),
        ({"rungs": (1, 1)}, "rungs [1, 1] must be positive FLOPs in ascending order"),
        ({"rungs": (0, 1)}, "rungs [0, 1] must be positive FLOPs in ascending order"),
        ({"ladder": ((16, 10), (16, 20))}, "ladder widths [16, 16] must differ; leave the repeated one out"),
        ({"sampler": "best"}, "unknown sampler 'best'; known: tpe, random, gp, nsga2"),
        (
            {"implementation": "fast"},
            "unknown implementation 'fast'; known: auto, reference, feature-major, merged, triton",
        ),
    ],
)
def test_a_value_that_breaks_a_rule_is_named(changes, message):
    with pytest.raises(EinsearchError) as error:
        StudyConfig(**changes)
    assert str(error.value) == message


def test_json_keeps_everything_but_the_protocol():
    protocol = Protocol(context=8)
    config = StudyConfig(
        space="btt", budget=7, data="/d", seed=2, rungs=(1, 3), ladder=((16, 9), (32, 9)), protocol=protocol
    )
    data = config.to_json()
    assert "protocol" not in data
    assert StudyConfig.from_json({**data, "rungs": [1, 3], "ladder": [[16, 9], [32, 9]]}, protocol) == config


def test_a_study_file_fills_every_field(tmp_path):
    (tmp_path / "s.yaml").write_text("not read here")
    (tmp_path / "text").mkdir()
    path = tmp_path / "study.yaml"
    path.write_text(
        """\
name: all
description: of it
space: s.yaml
budget: 2.5e11
data: text
sampler: random
seed: 4
rungs: [1e9, 2000000000, "3e9"]
reduction: 2
ladder:
  - {width: 16, flops: 1e9}
implementation: reference
protocol: {context: 8, learning_rate: 1e-3, clip: 2, residual: completep}
"""
    )
    assert read_study_file(path) == StudyConfig(
        name="all",
        space=str(tmp_path / "s.yaml"),
        budget=250_000_000_000,
        data=str(tmp_path / "text"),
        sampler="random",
        seed=4,
        rungs=(10**9, 2 * 10**9, 3 * 10**9),
        reduction=2,
        ladder=((16, 10**9),),
        implementation="reference",
        protocol=replace(Protocol(), context=8, learning_rate=1e-3, clip=2, residual="completep"),
    )


def test_a_study_file_needs_only_a_name(tmp_path):
    (tmp_path / "study.yaml").write_text("name: least\n")
    assert read_study_file(tmp_path / "study.yaml") == StudyConfig(name="least")


def test_data_beside_the_study_file_is_found_from_anywhere(tmp_path, monkeypatch):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "text.txt").write_text("words")
    (tmp_path / "folder" / "study.yaml").write_text("name: n\ndata: text.txt\n")
    monkeypatch.chdir(tmp_path)
    assert read_study_file(Path("folder/study.yaml")).data == str(tmp_path / "folder" / "text.txt")


STUDY_FIELDS = (
    "name, description, space, budget, data, sampler, seed, rungs, reduction, ladder, implementation, protocol"
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: n\nbugdet: 1e9\n", f"line 2, field bugdet: unknown field; known here: {STUDY_FIELDS}"),
        ("budget: 1e9\n", "line 1, field name: missing; add it"),
        ("name: n\nseed: first\n", "line 2, field seed: Input should be a valid integer"),
        ("name: n\nseed: 1\nseed: 2\n", "line 3: field 'seed' is given twice"),
        ("name: n\nladder:\n  - {width: 16}\n", "line 3, field ladder.0.flops: missing; add it"),
        ("name: n\nladder:\n- {width: 0, flops: 1}\n", "line 3, field ladder.0.width: Input should be greater than or"),
        (
            "name: n\nprotocol:\n  contxt: 8\n",
            "line 3, field protocol.contxt: unknown field; known here: context, batch",
        ),
        ("name: n\nprotocol:\n  beta1: 0.5\n", "line 3, field protocol.beta1: unknown field; known here: context"),
        ("name: [n\n", "line 2: "),
        ("- n\n", "line 1: the file holds no fields"),
        ("", "line 1: the file holds no fields"),
    ],
)
def test_a_wrong_study_file_is_answered_with_line_and_field(tmp_path, text, message):
    path = tmp_path / "study.yaml"
    path.write_text(text)
    with pytest.raises(EinsearchError) as error:
        read_study_file(path)
    assert str(error.value).startswith(f"{path} {message}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("budget: much", "budget is no number: much; write FLOPs as in 4e12"),
        ("rungs: [1e9, some]", "rung is no number: some; write FLOPs as in 4e12"),
        ("protocol: {learning_rate: fast}", "learning_rate is no number: fast; write it as in 3e-3"),
        ("protocol: {learning_rate: .nan}", "learning_rate is no number: nan; write it as in 3e-3"),
        ("protocol: {context: 0}", "context is 0; it must be at least 1"),
        ("sampler: best", "unknown sampler 'best'; known: tpe, random, gp, nsga2"),
    ],
)
def test_a_wrong_value_in_a_study_file_is_named(tmp_path, text, message):
    (tmp_path / "study.yaml").write_text(f"name: n\n{text}\n")
    with pytest.raises(EinsearchError) as error:
        read_study_file(tmp_path / "study.yaml")
    assert str(error.value) == message


def test_a_study_file_that_is_missing_or_no_text(tmp_path):
    with pytest.raises(EinsearchError, match=r"^no study file at .*none.yaml; give the path of a YAML file$"):
        read_study_file(tmp_path / "none.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(EinsearchError, match=r"^cannot read study file .*binary.yaml: .*; give a UTF-8 text file$"):
        read_study_file(tmp_path / "binary.yaml")
