"""Pictures as files: read back, repeated, refused."""

import base64
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
from PIL import Image

from einsearch.draw.diagram import Diagram
from einsearch.draw.file import FORMATS, write_picture
from einsearch.draw.patterns import arrange, chain_caption, chain_panels, sharing_panels
from einsearch.draw.picture import equation, picture_dimension, render
from einsearch.errors import EinsearchError
from einsearch.space.parse import parse, parse_structure

GENERIC = "(.5|.25|.25|.25|.5|.25|.25)"


def drawn(text: str, d: int = 16) -> Diagram:
    return Diagram.of(parse(text), d, d)


def texts(svg: str) -> list[str]:
    """What an SVG says: matplotlib writes the text before the paths of its letters."""
    return [text.strip() for text in re.findall(r"<!--(.*?)-->", svg, flags=re.DOTALL)]


@pytest.mark.parametrize("text", [GENERIC, "tensor-train(1/4, factors=3)", "dense"])
def test_an_svg_says_all(text, tmp_path):
    diagram = drawn(text)
    path = write_picture(diagram, tmp_path / "picture.svg")
    svg = path.read_text(encoding="utf-8")
    root = ElementTree.fromstring(svg)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    said = texts(svg)
    for label in (*diagram.labels.values(), *diagram.vertices, equation(diagram), "W"):
        assert label in said
    # Letters are drawn, so that no font is needed.
    assert "<text" not in svg
    assert "font-family" not in svg
    # One image a matrix: the steps, W, and a slice pattern for each factor.
    images = root.findall(".//{http://www.w3.org/2000/svg}image")
    assert len(images) == 2 * diagram.structure.factors + 1
    data = images[0].attrib["{http://www.w3.org/1999/xlink}href"]
    assert base64.b64decode(data.removeprefix("data:image/png;base64,")).startswith(b"\x89PNG")


def test_a_png_shows_something(tmp_path):
    path = write_picture(drawn("kronecker"), tmp_path / "picture.PNG")
    with Image.open(path) as image:
        assert image.format == "PNG"
        assert image.info["dpi"] == pytest.approx((150, 150), abs=0.1)
        pixels = np.asarray(image.convert("RGB"))
    assert pixels.shape[1] == 9 * 150
    assert 0.1 < (pixels.min(axis=2) < 250).mean() < 0.6
    assert (pixels[:5] == 255).all()


class Page(HTMLParser):
    """Tags, and the words outside the drawing."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data.strip())


def test_a_page_needs_nothing_else(tmp_path):
    path = write_picture(drawn("btt(1/4)"), tmp_path / "picture.html")
    text = path.read_text(encoding="utf-8")
    assert "http" not in text
    assert "@import" not in text
    page = Page()
    page.feed(text)
    assert not {"script", "img", "iframe", "object"} & {tag for tag, _ in page.tags}
    for tag, attributes in page.tags:
        link = attributes.get("href") or attributes.get("xlink:href") or attributes.get("src") or "#"
        assert link.startswith(("#", "data:")), (tag, link)
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    said = set(page.words)
    for fact in (
        "BTT rank d^0.25",
        "BTT: beta = delta = 0, rho > 0: block Tensor-Train of that rank",
        "ω = 0",
        "ψ = 1: at most 16 at these sizes",
        "ν = 3/4",
        "y[ε φ] = Σ x[α γ] A[α γ φ ρ] B[γ ε φ ρ]",
        "α = 1/2, γ = 1/2, ε = 1/2, φ = 1/2, ρ = 1/4",
        "16 → 16: α = 4, γ = 4, ε = 4, φ = 4, ρ = 2",
        "256: 100 % of dense, which has 256",
    ):
        assert fact in said


@pytest.mark.parametrize("suffix", FORMATS)
def test_the_same_bytes_each_time(suffix, tmp_path, monkeypatch):
    first = write_picture(drawn("dense"), tmp_path / f"a{suffix}").read_bytes()
    before = dict(matplotlib.rcParams)
    # Settings of a user change nothing, and are left as they are.
    with matplotlib.rc_context({"font.size": 20, "svg.fonttype": "none", "savefig.bbox": "tight"}):
        second = write_picture(drawn("dense"), tmp_path / f"b{suffix}").read_bytes()
        assert matplotlib.rcParams["font.size"] == 20
    assert first == second
    assert dict(matplotlib.rcParams) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"a{suffix}", f"b{suffix}"]


def test_a_structure_without_exponents_is_its_network(tmp_path):
    diagram = Diagram(parse_structure("ag,agf,gef->ef"))
    said = texts(write_picture(diagram, tmp_path / "a.svg").read_text(encoding="utf-8"))
    assert {"BTT rank 1", "α", "γ", "ε", "φ", "x", "A", "B", "y"} <= set(said)
    assert "W" not in said
    page = write_picture(diagram, tmp_path / "a.html").read_text(encoding="utf-8")
    assert "BTT rank 1: beta = delta = rho = 0: two block-diagonal factors" in page


def test_matrices_too_large_to_look_at_are_left_out_aloud():
    svg = render(Diagram.of(parse("tensor-train(1, factors=3)"), 64, 64), "svg").decode()
    left_out = [text for text in texts(svg) if text.startswith("Left out")]
    assert left_out == [
        "Left out: the step of factor A is a matrix of 64 x 4,096, too large to look at. Smaller dimensions may fit."
    ]


@pytest.mark.parametrize(
    ("text", "d"),
    [("dense", 16), ("btt", 16), ("btt(1/4)", 16), (GENERIC, 16), ("kronecker(factors=3)", 8), ("btt(factors=4)", 16)],
)
def test_the_dimension_shows_every_index(text, d):
    assert picture_dimension(parse(text)) == d
    assert all(n > 1 for _, n in drawn(text, d).operator.sizes.of)


def test_the_caption_counts_zeros():
    assert "No entry of W is zero by structure (0 of 256)" in chain_caption(drawn("btt"))
    assert "An entry of W is one product of 2 parameters." in chain_caption(drawn("kronecker"))
    assert "An entry of W is a sum of 4 products of 2 parameters." in chain_caption(drawn("low-rank"))
    assert chain_caption(drawn("dense")).endswith("An entry of W is one parameter.")


def test_panels_say_what_they_show():
    a, b, w = chain_panels(drawn("btt"))
    assert (a.title, a.subtitle, a.rows, a.columns, a.sign) == (
        "A: 64 parameters",
        "16 × 16, 75 % zero",
        "α γ",
        "γ φ",
        "",
    )
    assert (b.sign, w.sign, w.title, w.subtitle) == ("×", "=", "W", "16 × 16, 0 % zero")
    assert [(p.title, p.subtitle) for p in sharing_panels(drawn("kronecker"))] == [
        ("A[α δ]: 16 slices", "each in 16 entries"),
        ("B[β ε]: 16 slices", "each in 16 entries"),
    ]
    (only,) = sharing_panels(drawn("dense"))
    assert (only.title, only.subtitle) == ("A[a b]: 256 slices", "each in 1 entry")


def test_panels_fit_the_page(diagram):
    if diagram.operator is None or max(diagram.operator.sizes.d_in, diagram.operator.sizes.d_out) > 16:
        return
    for panels in (chain_panels(diagram), sharing_panels(diagram)):
        arranged = arrange(panels, 8.3)
        assert [panel for row in arranged.rows for panel in row] == list(panels)
        assert all(sum(panel.width(arranged.cell) for panel in row) < 8.3 for row in arranged.rows)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("picture.pdf", "has the suffix '.pdf'; write one of FILE.svg, FILE.png, FILE.html"),
        ("picture", "has no suffix; write one of FILE.svg, FILE.png, FILE.html"),
        ("none/picture.svg", "none; make it first"),
        ("folder.svg", "Is a directory; give another path"),
    ],
)
def test_a_path_that_cannot_be_written(name, message, tmp_path: Path):
    (tmp_path / "folder.svg").mkdir()
    with pytest.raises(EinsearchError, match=re.escape(message)):
        write_picture(Diagram(parse_structure("a,ab->b")), tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["folder.svg"]


def test_dimensions_too_large_for_a_picture(tmp_path):
    with pytest.raises(EinsearchError, match="d_out is 512; a picture shows matrices of at most 256 x 256"):
        write_picture(Diagram.of(parse("btt"), 64, 512), tmp_path / "a.svg")
