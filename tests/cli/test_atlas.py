"""`einsearch atlas` writes its page, where it is asked to."""

from einsearch.cli.atlas import atlas
from einsearch.cli.main import COMMANDS
from einsearch.draw.atlas import sample_atlas
from einsearch.draw.atlas_page import render_atlas


def test_the_page_is_written_in_the_current_folder(cli, tmp_path):
    answer = cli("atlas", "--samples", 400)
    assert (answer.code, answer.out, answer.err) == (0, "Atlas: atlas.html\n", "")
    assert "<title>Atlas of two factors" in (tmp_path / "atlas.html").read_text(encoding="utf-8")


def test_a_path_and_a_seed(cli, tmp_path):
    path = tmp_path / "new" / "two.html"
    assert cli("atlas", "--output", path, "--samples", 400, "--seed", 4).out == f"Atlas: {path}\n"
    assert path.read_text(encoding="utf-8") == render_atlas(sample_atlas(400, seed=4))


def test_bad_options_are_one_line(cli, tmp_path):
    for arguments, said in (
        (("-o", "atlas.svg"), "einsearch: atlas atlas.svg has the suffix '.svg'; write FILE.html\n"),
        (("--seed", -1), "einsearch: seed is -1; give 0 or a positive number\n"),
        (
            ("--samples", 10),
            "einsearch: samples is 10; give 400 to 50000: fewer hide structures, more make the page slow\n",
        ),
    ):
        answer = cli("atlas", *arguments)
        assert (answer.code, answer.out, answer.err) == (2, "", said)
    assert list(tmp_path.iterdir()) == []


def test_the_help_line_is_the_one_of_the_list(cli):
    assert (atlas.__doc__ or "").splitlines()[0] == COMMANDS["atlas"]
    assert COMMANDS["atlas"] in cli("atlas", "--help").out
