"""einsearch draw: text, files, and what is refused."""

import os
from xml.etree import ElementTree

import pytest
from PIL import Image

from einsearch.draw.diagram import Diagram
from einsearch.draw.text import text_diagram
from einsearch.space.parse import parse, parse_structure

BTT = "ag,agf,gef->ef; a=1/2, g=1/2, e=1/2, f=1/2"


@pytest.mark.parametrize("text", ["btt", "(0.5|0|0.5|0|0.5|0.5|0)", BTT])
def test_text_is_printed(cli, text):
    answer = cli("draw", text)
    assert (answer.code, answer.err) == (0, "")
    assert answer.out == text_diagram(Diagram.of(parse("btt"), 64, 64)) + "\n"


def test_dimensions(cli):
    assert cli("draw", "btt", "--d-in", 36).out == text_diagram(Diagram.of(parse("btt"), 36, 36)) + "\n"
    assert cli("draw", "btt", "--d-out", 36).out == text_diagram(Diagram.of(parse("btt"), 36, 36)) + "\n"
    assert "36 → 100: " in cli("draw", "btt", "--d-in", 36, "--d-out", 100).out


def test_a_structure_without_exponents(cli):
    answer = cli("draw", "ag,agf,gef->ef")
    assert (answer.code, answer.err) == (0, "")
    assert answer.out == text_diagram(Diagram(parse_structure("ag,agf,gef->ef"))) + "\n"


def test_files(cli, tmp_path):
    for name in ("a.svg", "a.png", "a.html"):
        answer = cli("draw", "kronecker", "-o", name, "--d-in", 4)
        assert (answer.code, answer.err, answer.out) == (0, "", f"Picture: {name}\n")
    ElementTree.parse(tmp_path / "a.svg")
    with Image.open(tmp_path / "a.png") as image:
        assert image.size[0] == 1350
    page = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert "4 → 4: α = 2, β = 2, δ = 2, ε = 2" in page


def test_a_picture_takes_the_dimension_that_shows_most(cli, tmp_path):
    assert cli("draw", "btt", "-o", "a.html").code == 0
    assert "16 → 16: " in (tmp_path / "a.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nonsense",), "unknown structure 'nonsense'; give a family (dense, low-rank"),
        (("(.5|0|.4|0|.5|.5|0)",), "exponents of x sum to 0.9, not 1: (0.5, 0.4); raise or lower alpha, beta or gamma"),
        (("ag,agf,gef->ef; a=1/2",), "no exponent for index 'g'; add `g=0.5` behind the semicolon"),
        (("ag,agf->ef", "-o", "a.svg"), "index 'e' touches one vertex only; give it to a factor too"),
        (("ag,agf,gef->ef", "--d-in", 8), "has no exponents, so dimensions give no sizes; add exponents"),
        (("btt", "--d-in", 0), "d_in is 0; a dimension is a positive integer"),
        (("btt", "--d-out", -4), "is -4; a dimension is a positive integer"),
        (
            ("a,ab,bc,cd,de,ef,fg,gh,hi,ij,jk,kl,lm,mn,no,op,pq,qr->r",),
            "17 factors are too many to draw; give at",
        ),
        (("btt", "-o", "a.gif"), "picture a.gif has the suffix '.gif'; write one of FILE.svg, FILE.png, FILE.html"),
        (("btt", "-o", "a"), "picture a has no suffix; write one of FILE.svg, FILE.png, FILE.html"),
        (("btt", "-o", "no/a.svg"), "cannot write the picture to no/a.svg: there is no folder no; make it first"),
        (("a,ab->b", "-o", "dir.svg"), "cannot write the picture to dir.svg: Is a directory; give another path"),
        (("btt", "-o", "a.svg", "--d-in", 257), "d_in is 257; a picture shows matrices of at most 256 x 256, give a"),
    ],
)
def test_what_is_refused(cli, tmp_path, arguments, message):
    (tmp_path / "dir.svg").mkdir()
    answer = cli("draw", *arguments)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith("einsearch: ")
    assert answer.err.count("\n") == 1
    assert message in answer.err
    assert os.listdir(tmp_path) == ["dir.svg"]


def test_a_picture_that_cannot_be_written_leaves_the_old_one(cli, tmp_path):
    assert cli("draw", "btt", "-o", "a.svg").code == 0
    before = (tmp_path / "a.svg").read_bytes()
    assert cli("draw", "btt", "-o", "a.svg", "--d-in", 300).code == 2
    assert (tmp_path / "a.svg").read_bytes() == before
