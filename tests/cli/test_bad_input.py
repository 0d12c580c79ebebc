"""Wrong input ends in one line that names the mistake, exit code 2, and no trace in the store."""

import sqlite3
from pathlib import Path

import pytest

from einsearch.store import Store

STUDY = ("--workers", 1, "--device", "cpu", "--quiet")


def refused(answer, *parts: str) -> None:
    """Exit code 2 and one line on stderr that says all of this."""
    assert answer.code == 2, answer
    assert answer.err.startswith("einsearch: "), answer.err
    assert answer.err.count("\n") == 1, answer.err
    assert "Traceback" not in answer.err + answer.out
    for part in parts:
        assert part in answer.err


def no_study(folder: Path) -> None:
    path = folder / "runs" / "einsearch.db"
    if path.exists():
        with Store.open(f"sqlite:///{path}") as store:
            assert store.studies() == []


def edit(study: Path, before: str, after: str, file: str = "study.yaml") -> None:
    path = study.with_name(file)
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))


@pytest.mark.parametrize(
    ("theta", "message"),
    [
        ("(.5|0|.4|0|.5|.5|0)", "exponents of x sum to 0.9, not 1: (0.5, 0.4); raise or lower alpha, beta or gamma"),
        ("(.5|0|.5|0|.5|.4|0)", "exponents of y sum to 0.9, not 1: (0.5, 0.4); raise or lower delta, epsilon or phi"),
        ("(1.5|0|-.5|0|.5|.5|0)", "exponent gamma is negative: -.5; exponents lie between 0 and 1"),
        ("(nan|0|.5|0|.5|.5|0)", "exponent alpha is not finite: nan; write a decimal or a fraction"),
        ("(.5|0|.5)", "theta has 3 exponents, not 7: (.5|0|.5); write (alpha|beta|gamma|delta|epsilon|phi|rho)"),
        ("nonsense", "unknown structure 'nonsense'; give a family (dense, low-rank"),
        ("btt(much)", "exponent rank of btt is not a number: much; write a decimal or a fraction"),
        ("dense(1/2)", "family dense takes no rank, but '1/2' was given; write dense"),
    ],
)
def test_a_structure_that_is_none(cli, tiny_study, theta, message):
    refused(cli("train", theta, "--width", 16, "--data", tiny_study.with_name("text")), message)
    edit(tiny_study, "{family: monarch}", f"{{theta: '{theta}'}}", "space.yaml")
    refused(cli("run", tiny_study, *STUDY), "space.yaml line 4, field structures.list.0: ", message)
    no_study(tiny_study.parent)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("{family: monarch}", "{family: monk}", "line 4, field structures.list.0: unknown family 'monk'; known: dense"),
        ("{family: monarch}", "{famly: monarch}", "line 4, field structures.list.0.famly: unknown field; known here: "),
        ("widths: [16]", "widths: [18]", "line 8, field model: width 18 is not divisible by head size 8; use width 16"),
        ("widths: [16]", "widths: [wide]", "line 8, field model.widths.0: Input should be a valid integer"),
        ("depth: 1", "dept: 1", "line 8, field model.dept: unknown field; known here: widths, depth, head_size"),
        ("depth: 1", "depth: 0", "line 8, field model.depth: Input should be greater than or equal to 1"),
        ("structures:", "structure:", "line 1, field structures: missing; add it"),
    ],
)
def test_a_search_space_file_that_is_wrong(cli, tiny_study, before, after, message):
    edit(tiny_study, before, after, "space.yaml")
    refused(cli("run", tiny_study, *STUDY), "space.yaml ", message)
    no_study(tiny_study.parent)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("budget: 2e8", "bugdet: 2e8", "study.yaml line 3, field bugdet: unknown field; known here: name, description"),
        ("budget: 2e8", "budget: abc", "budget is no number: abc; write FLOPs as in 4e12"),
        (
            "budget: 2e8",
            "budget: 1e7",
            "budget 1e7 FLOPs is too small for one rung after the dense ladder; give at least ",
        ),
        ("batch: 4", "batch: 0", "batch is 0; it must be at least 1"),
        (
            "space: space.yaml",
            "space: moon",
            "unknown search space 'moon'; shipped: all-sites, btt, moe, paper, three-factor, two-f",
        ),
        ("space: space.yaml", "space: moon.yaml", "no search space file at moon.yaml; shipped spaces: all-sites"),
        ("name: tiny", "name: tiny\nsampler: best", "unknown sampler 'best'; known: tpe, random, gp, nsga2"),
        (
            "name: tiny",
            "name: tiny\nimplementation: f",
            "unknown implementation 'f'; known: auto, reference, feature-major, merged, triton",
        ),
        ("name: tiny", "name: a/b", "study name 'a/b' must be usable as a folder's name"),
        ("data: text", "data: none", "/none"),
        ("{width: 16, flops: 6.4e7}", "{width: 16, flops: 6.4}", "ladder run of width 16 has 6e0 FLOPs, less than 8"),
        ("[1.6e7, 3.2e7]", "[1, 3.2e7]", "rung 1e0 FLOPs: less than 8 steps of the dearest model; give at least "),
    ],
)
def test_a_study_file_that_is_wrong(cli, tiny_study, before, after, message):
    edit(tiny_study, before, after)
    refused(cli("run", tiny_study, *STUDY), message)
    no_study(tiny_study.parent)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--budget", "abc"), "budget is no number: abc; write FLOPs as in 4e12"),
        (("--budget", "-1"), "budget is -1; it must be a positive number of FLOPs, as in 4e12"),
        (("--budget", "nan"), "budget is nan; it must be a positive number of FLOPs, as in 4e12"),
        (("--budget", "1e3"), "budget 1e3 FLOPs is too small"),
        (("--sampler", "best"), "unknown sampler 'best'; known: tpe, random, gp, nsga2"),
        (("--space", "moon"), "unknown search space 'moon'; shipped: all-sites, btt, moe, paper, three-factor"),
        (("--device", "tpu"), "unknown device 'tpu'; known: auto, cpu, cuda"),
        (("--workers", "0"), "workers is 0; it must be at least 1"),
        (("--seed", "-1"), "seed is -1; it must lie between 0 and 2^32 - 1"),
        (("--study", "a/b"), "study name 'a/b' must be usable as a folder's name"),
    ],
)
def test_an_option_that_is_wrong(cli, tiny_study, options, message):
    # The last of a repeated option counts.
    refused(cli("run", tiny_study, *STUDY, *options), message)
    refused(cli("run", tiny_study, *STUDY, "--dry-run", *options), message)
    no_study(tiny_study.parent)


def test_the_least_budget_that_is_named_works(cli, tiny_study):
    answer = cli("run", tiny_study, *STUDY, "--budget", "1e7", "--dry-run")
    least = answer.err.rsplit("give at least ", 1)[1].strip()
    assert cli("run", tiny_study, *STUDY, "--budget", least, "--dry-run").code == 0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "other.txt is empty; give a file with text"),
        (
            b"\x00\x01\xff" * 1000,
            "other.txt is binary: it has a NUL byte, or more than 30 % of its bytes are not ASCII",
        ),
        (None, "other.txt does not exist; give a text file or a folder of text files"),
    ],
)
def test_data_that_cannot_be_learnt(cli, tiny_study, tmp_path, content, message):
    path = tmp_path / "other.txt"
    if content is not None:
        path.write_bytes(content)
    for command in (("run", tiny_study, *STUDY), ("train", "monarch", "--width", 16, "--device", "cpu")):
        refused(cli(*command, "--data", path), message)
    no_study(tmp_path)


def test_an_empty_folder_of_data(cli, tiny_study, tmp_path):
    (tmp_path / "nothing").mkdir()
    refused(cli("run", tiny_study, *STUDY, "--data", tmp_path / "nothing"), "nothing")
    no_study(tmp_path)


def test_text_shorter_than_a_sequence(cli, tiny_study, tmp_path):
    (tmp_path / "brief").mkdir()
    for n in range(3):
        (tmp_path / "brief" / f"{n}.txt").write_text(f"a{n}")
    for command in (("run", tiny_study, *STUDY), ("train", "monarch", "--width", 16, "--device", "cpu")):
        refused(cli(*command, "--data", tmp_path / "brief"), "symbols, but one sequence needs ", "give more text")
    no_study(tmp_path)


@pytest.mark.parametrize(
    "command", [("run",), ("status",), ("resume",), ("report",), ("show", "ab"), ("clean", "x", "-y")]
)
def test_a_store_that_cannot_be_used(cli, tiny_study, tmp_path, command):
    arguments = (*command, tiny_study, *STUDY) if command == ("run",) else command
    (tmp_path / "file").write_text("x")
    below = "cannot be reached (Not a directory: " if command == ("run",) else "there is no store at sqlite:///"
    refused(cli(*arguments, "--store", f"sqlite:///{tmp_path}/file/below/store.db"), "file/below", below)
    refused(cli(*arguments, "--store", f"sqlite:///{tmp_path}"), "is a folder; name a file in it")
    refused(cli(*arguments, "--store", f"sqlite:///{tmp_path}/space.yaml"), "is not a SQLite database")
    refused(cli(*arguments, "--store", "runs/store.db"), "'runs/store.db' is not a store URL; write sqlite:///PATH/")
    refused(cli(*arguments, "--store", "mysql://me:secret@host/db"), "a store cannot be kept in 'mysql'")
    answer = cli(*arguments, "--store", "oracle://me:secret@host/db?password=secret")
    refused(answer, "***")
    assert "secret" not in answer.err + answer.out


def test_a_store_of_a_newer_einsearch(cli, tiny_study, tmp_path):
    path = tmp_path / "newer.db"
    Store.open(f"sqlite:///{path}").close()
    with sqlite3.connect(path) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        (versions,) = [name for name in tables if "version" in name]
        connection.execute(f"UPDATE {versions} SET version_num = '9999'")
    connection.close()
    refused(cli("run", tiny_study, *STUDY, "--store", f"sqlite:///{path}"), "9999", "newer")


def test_a_password_in_a_url_is_never_shown(cli, tiny_study):
    url = "postgresql://me:secret@127.0.0.1:1/db?sslpassword=secret"
    answer = cli("run", tiny_study, *STUDY, "--store", url)
    refused(answer)
    assert "secret" not in answer.err + answer.out


@pytest.mark.parametrize(
    "command", [("status", "none"), ("resume", "none"), ("report", "none"), ("clean", "none", "--yes")]
)
def test_a_study_that_is_not_there(cli, tmp_path, command):
    refused(
        cli(*command), f"there is no store at sqlite:///{tmp_path}/runs/einsearch.db yet; `einsearch run` makes one"
    )
    assert not (tmp_path / "runs").exists(), "asking makes nothing"
    Store.open(f"sqlite:///{tmp_path}/runs/einsearch.db").close()
    refused(cli(*command), "there is no study 'none' in sqlite:///", "it has no study yet")


@pytest.mark.parametrize("command", [("resume",), ("report",), ("show", "ab")])
def test_the_latest_study_where_there_is_none(cli, tmp_path, command):
    Store.open(f"sqlite:///{tmp_path}/runs/einsearch.db").close()
    refused(cli(*command), "there is no study in sqlite:///", "yet; begin one with `einsearch run`")


@pytest.mark.parametrize(
    ("structure", "options", "message"),
    [
        (
            "(1|0|0|1|0|0|0)",
            (),
            "structure (1|0|0|1|0|0|0) cannot be trained: attention: reducible: factor B carries no index",
        ),
        ("(.5|.5|0|.5|.5|0|1)", (), "cannot be trained: attention: dearer than dense: nu = 1.5 > 1"),
        ("monarch", ("--width", 20), "width 20 is not divisible by head size 16; use width 16 or 32"),
        ("monarch", ("--flops", "1"), "flops 1 is less than one step of this model; give at least "),
        ("monarch", ("--flops", "no"), "flops is no number: no; write FLOPs as in 4e12"),
        (
            "monarch",
            ("--implementation", "f"),
            "unknown implementation 'f'; known: auto, reference, feature-major, merged, triton",
        ),
        ("monarch", ("--device", "tpu"), "unknown device 'tpu'; known: auto, cpu, cuda"),
        ("monarch", ("--seed", -1), "seed is -1, but must lie in 0 to 2**64 - 1; choose one in that range"),
    ],
)
def test_a_candidate_that_cannot_be_trained(cli, tiny_study, tmp_path, structure, options, message):
    refused(cli("train", structure, "--width", 16, "--data", tmp_path / "text", *options), message)
    assert not (tmp_path / "runs" / "train").exists()
