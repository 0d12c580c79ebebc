"""The page stands alone, says what is stored, and works in a browser."""

import re
import shutil
import subprocess
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest
from plotly.offline import get_plotlyjs

from einsearch.errors import EinsearchError
from einsearch.report.html import render_html, write_html

from .conftest import CONFIG

CHROMIUM = shutil.which("chromium")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--enable-logging=stderr", "--v=0"),
    "--virtual-time-budget=5000",
)


class Outline(HTMLParser):
    """Tags with their attributes, and the text of cells and headings."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.texts = [], []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        if data.strip():
            self.texts.append(" ".join(data.split()))


def own(page):
    """The page without the library."""
    assert page.count(get_plotlyjs()) == 1
    return page.replace(get_plotlyjs(), "")


def test_nothing_is_loaded(full):
    outline = Outline(own(render_html(full)))
    for tag, attributes in outline.tags:
        for name in ("src", "href", "srcset", "action", "data"):
            assert not re.match(r"(https?:)?//", attributes.get(name) or ""), (tag, attributes)
    assert "@import" not in own(render_html(full))
    assert "url(" not in own(render_html(full))


def test_the_page_has_its_parts(full):
    outline = Outline(own(render_html(full)))
    assert ("html", {"lang": "en"}) in outline.tags
    assert ("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}) in outline.tags
    headings = [text for text in outline.texts if text in HEADINGS]
    assert headings == HEADINGS
    ids = [attributes["id"] for _, attributes in outline.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    labelled = [attributes["aria-labelledby"] for _, attributes in outline.tags if "aria-labelledby" in attributes]
    assert set(labelled) <= set(ids)
    figures = [attributes for _, attributes in outline.tags if attributes.get("role") == "img"]
    assert len(figures) == [tag for tag, _ in outline.tags].count("figcaption") == 4
    assert all(attributes["aria-label"] for attributes in figures)


HEADINGS = [
    "Ranking", "Figures", "Budget", "Failures and lost work", "Failed trials", "Lost segments",
    "Use the best one in your own model", "Reproduce", "Protocol and configuration",
]  # fmt: skip


def test_the_page_says_what_is_stored(full):
    texts = Outline(own(render_html(full))).texts
    for text in (
        "the loss is not finite at step 7", "worker cpu:0 died", "1.50", "evaluations_per_octave", "d" * 64,
        "plan.rungs", "2 min 5 s", "einsearch run --study tiny --space paper --budget 1e12 --seed 0 --sampler random",
    ):  # fmt: skip
        assert text in texts, text
    page = unescape(own(render_html(full)))
    assert 'layer = EinsumLinear(d_in, d_out, "(0.5|0|0.5|0|0.5|0.5|0)")' in page
    assert "param_groups(model, lr)" in page


def test_the_lines_for_a_users_model_are_python(recorder):
    recorder.search("btt / dense")
    page = unescape(own(render_html(recorder.data())))
    lines = page[page.index("from einsearch import") : page.index("optimizer = ")]
    compile(lines, "usage", "exec")
    assert 'ffn_layer = EinsumLinear(d_in, d_out, "a,ab->b; a=1, b=1")' in lines


def test_a_command_line_that_a_shell_reads_back(new_recorder):
    recorder = new_recorder("it's", CONFIG | {"data": "my data", "seed": 3, "budget": 123456789012}, 2 * 10**12)
    page = unescape(own(render_html(recorder.data())))
    assert (
        "einsearch run --study 'it'\"'\"'s' --space paper --budget 123456789012 --seed 3 --sampler random "
        "--data 'my data'\neinsearch resume 'it'\"'\"'s' --budget 2e12"
    ) in page


def test_text_from_outside_stays_text(recorder):
    hostile = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"
    recorder.dense()
    recorder.search(label=hostile)
    recorder.fail(hostile, theta="btt", width=64)
    tags = Outline(own(render_html(recorder.data()))).tags
    assert "img" not in [tag for tag, _ in tags]
    assert hostile not in render_html(recorder.data())


def test_an_empty_study_has_a_page(recorder):
    texts = Outline(own(render_html(recorder.data()))).texts
    assert "No candidate completed a rung." in texts
    assert "Use the best one in your own model" not in texts


def test_the_same_data_give_the_same_bytes(full, tmp_path):
    one, two = write_html(full, tmp_path / "one.html"), write_html(full, tmp_path / "new" / "two.html")
    assert one.read_bytes() == two.read_bytes()
    assert list((tmp_path / "new").iterdir()) == [two]


def test_a_page_that_cannot_be_written_is_an_error_of_one_line(recorder, tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(EinsearchError) as caught:
        write_html(recorder.data(), tmp_path / "folder")
    assert str(caught.value).startswith(f"cannot write the report to {tmp_path}/folder: ")
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def browse(page: Path, profile: Path) -> tuple[str, str]:
    """The page after its scripts ran, and what the browser logged."""
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    done = subprocess.run(
        [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", "--dump-dom", page.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout, done.stderr


def test_the_figures_draw_in_a_browser(full, tmp_path):
    dom, log = browse(write_html(full, tmp_path / "report.html"), tmp_path / "profile")
    assert "CONSOLE" not in log, log
    drawn = Outline(dom.replace(get_plotlyjs(), ""))
    assert sum("main-svg" in (a.get("class") or "") for tag, a in drawn.tags if tag == "svg") >= 4
    for text in ("1. BTT rank 1, width 32", "dense frontier", "rung 2", "compute multiplier", "lost: 0.9 %"):
        assert text in drawn.texts, text


def test_that_check_can_fail(tmp_path):
    (tmp_path / "bad.html").write_text("<script>missing()</script>")
    _, log = browse(tmp_path / "bad.html", tmp_path / "profile")
    assert "CONSOLE" in log
    assert "Uncaught" in log
