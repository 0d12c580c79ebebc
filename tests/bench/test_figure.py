"""Figures: what is drawn, in every format, and what is refused."""

import base64
import html
import re
from xml.etree import ElementTree

import pytest
from PIL import Image

from einsearch.bench.figure import check_figure, limits, ticks, write_figure
from einsearch.bench.plot import Line, Panel, Plot, layer_plot, step_plot
from einsearch.bench.step_rows import StepRow
from einsearch.errors import EinsearchError

from .samples import BTT, THIN, rows

LINES = (
    Line("nn.Linear", "row-major", ((64, 1.0), (128, 4.0))),
    Line("merged", "transposed", ((64, 0.5),)),
    Line("merged", "feature-major", ((64, 0.25), (128, 10.0))),
)
PLOT = Plot("d", "µs a token", (Panel("btt <1>" + 80 * "x", "64 tokens", LINES),), dense=("nn.Linear",))


def test_an_svg(tmp_path):
    path = write_figure(tmp_path / "a.svg", PLOT, "A machine")
    ElementTree.parse(path)
    assert path.read_bytes() == write_figure(tmp_path / "b.svg", PLOT, "A machine").read_bytes()


@pytest.mark.parametrize("panels", [1, 2, 4, 7])
def test_a_png_grows_with_its_panels(tmp_path, panels):
    plot = Plot(PLOT.x, PLOT.y, PLOT.panels * panels, PLOT.dense)
    with Image.open(write_figure(tmp_path / "a.png", plot, "A machine")) as image:
        across, down = {1: (2, 1), 2: (2, 1), 4: (2, 2), 7: (3, 3)}[panels]
        assert image.size[0] == pytest.approx(150 * (0.6 + 3.3 * across), abs=2)
        assert 0 < image.size[1] / 150 - 2.7 * down < 2


@pytest.mark.parametrize("value", [1e-3, 0.97, 1.0, 4096.0])
def test_a_single_number_has_an_axis(tmp_path, value):
    """Two ticks at least, and the number between the limits."""
    low, high = limits([value])
    assert low < value < high
    assert len(ticks(low, high)) >= 2
    panel = Panel("btt", "64 tokens", (Line("nn.Linear", "row-major", ((64, value),)),))
    write_figure(tmp_path / "a.svg", Plot("d", "µs a token", (panel,), ("nn.Linear",)), "A machine")


def test_ticks_are_powers_alone_where_these_are_many():
    assert ticks(0.9, 11) == [1, 2, 5, 10]
    assert ticks(0.9, 1100) == [1, 10, 100, 1000]


def test_a_page_has_the_picture_and_the_numbers(tmp_path):
    page = write_figure(tmp_path / "a.HTML", PLOT, "A machine").read_text(encoding="utf-8")
    picture = re.search(r"data:image/svg\+xml;base64,([^\"]+)\"", page)
    assert picture
    ElementTree.fromstring(base64.b64decode(picture[1]))
    assert "<1>" not in page
    cells = [html.unescape(cell) for cell in re.findall(r"<td>([^<]*)</td>", page)]
    assert cells == [
        *("nn.Linear, row-major", "1", "4"),
        *("merged, row-major transposed", "0.5", "-"),
        *("merged, feature-major", "0.25", "10"),
    ]
    assert "http" not in page.replace("http-equiv", "")


def test_time_a_token_of_layers():
    plot = layer_plot([*rows(BTT, d=512), *rows(BTT, d=1024)])
    assert [(panel.title, panel.detail) for panel in plot.panels] == [
        ("btt", "4,096 tokens, forward"),
        ("btt", "4,096 tokens, forward + backward"),
    ]
    lines = {line.text: line.points for line in plot.panels[0].lines}
    assert list(lines) == [
        "nn.Linear, row-major",
        "dense, feature-major",
        "merged, feature-major",
        "feature-major, row-major transposed",
    ]
    # 8 ms for 4,096 tokens.
    assert lines["nn.Linear, row-major"] == ((512, 8e3 / 4096), (1024, 8e3 / 4096))


def test_of_many_layers_only_both_passes_are_drawn():
    many = [type(BTT)(text=f"layer {n}", sizes="", nu="0.5", smallest=32) for n in range(7)]
    assert [panel.detail for panel in layer_plot(rows(*many)).panels] == ["4,096 tokens, forward + backward"] * 7
    assert len(layer_plot(rows(BTT, THIN)).panels) == 4


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a.gif", r"figure .*a\.gif has the suffix '\.gif'; write one of FILE\.svg, FILE\.png, FILE\.html"),
        ("a", "figure .*a has no suffix; write one of"),
        ("no/a.svg", r"cannot write the figure to .*a\.svg: there is no folder .*no; make it first"),
        ("folder.svg", r"cannot write the figure to .*folder\.svg: it is a folder; give a file"),
    ],
)
def test_paths_are_checked_before_anything_is_measured(tmp_path, name, message):
    (tmp_path / "folder.svg").mkdir()
    with pytest.raises(EinsearchError, match=message):
        check_figure(tmp_path / name)


def test_steps_have_a_line_for_every_model_and_a_panel_for_every_mode():
    def row(layer, mode, implementation="auto", width=64):
        return StepRow(
            layer=layer,
            width=width,
            mode=mode,
            implementation=implementation,
            activations="row-major",
            runs=("reference",),
            milliseconds=2.0,
            spread=0.1,
            flops=1,
            flops_per_second=1.0,
            tokens_per_second=1.0,
            speedup=1.0,
            compile_seconds=None,
            seconds=(2e-3,),
        )

    plot = step_plot(
        [row(None, "eager"), row(None, "eager", width=128), row("btt", "eager", "merged"), row(None, "compiled")]
    )
    assert [panel.detail for panel in plot.panels] == ["eager", "compiled"]
    assert [(line.text, line.points) for line in plot.panels[0].lines] == [
        ("dense, row-major", ((64, 2.0), (128, 2.0))),
        ("btt by merged, row-major", ((64, 2.0),)),
    ]
