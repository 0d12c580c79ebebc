"""The page of the atlas stands alone, holds the samples, and its filters work in a browser."""

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest
from plotly.offline import get_plotlyjs

from einsearch.draw.atlas import FEWEST, UNIT, Atlas, sample_atlas
from einsearch.draw.atlas_page import MARKS, atlas_data, render_atlas, special_cases, write_atlas
from einsearch.errors import EinsearchError
from einsearch.space.classify import Family, families_of
from einsearch.space.parse import parse_structure

CHROMIUM = shutil.which("chromium")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--enable-logging=stderr", "--v=0"),
    "--virtual-time-budget=3000",
)


class Outline(HTMLParser):
    """Tags with their attributes, and the text between them."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.texts = [], []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        if data.strip():
            self.texts.append(" ".join(data.split()))


@pytest.fixture(scope="module")
def atlas() -> Atlas:
    return sample_atlas(FEWEST)


@pytest.fixture(scope="module")
def page(atlas: Atlas) -> str:
    return render_atlas(atlas)


def own(page):
    """The page without the library."""
    assert page.count(get_plotlyjs()) == 1
    return page.replace(get_plotlyjs(), "")


def test_nothing_is_loaded(page):
    for tag, attributes in Outline(own(page)).tags:
        for name in ("src", "href", "srcset", "action", "data"):
            assert not re.match(r"(https?:)?//", attributes.get(name) or ""), (tag, attributes)
    for word in ("http://", "https://", "@import", "url(", "fetch(", "XMLHttpRequest"):
        assert word not in own(page), word


def test_the_page_has_its_parts(page):
    outline = Outline(own(page))
    assert ("html", {"lang": "en"}) in outline.tags
    assert ("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}) in outline.tags
    ids = [attributes["id"] for _, attributes in outline.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    labelled = [attributes["aria-labelledby"] for _, attributes in outline.tags if "aria-labelledby" in attributes]
    assert set(labelled) <= set(ids)
    figures = [attributes for _, attributes in outline.tags if attributes.get("role") == "img"]
    assert [attributes["id"] for attributes in figures] == ["space", "unshared", "full"]
    assert all(attributes["aria-label"] for attributes in figures)
    options = [attributes for tag, attributes in outline.tags if tag == "option"]
    assert len(options) == 41 + len(MARKS)  # all and 40 structures; anything and all families but generic
    for word in ("ω, parameter sharing", "ψ, rank", "ν, compute intensity", "Full rank, no sharing"):
        assert word in outline.texts


def test_the_page_holds_the_samples(atlas, page):
    (text,) = re.findall(r'<script type="application/json" id="atlas">(.*?)</script>', page, re.DOTALL)
    data = json.loads(text)
    assert data == json.loads(json.dumps(atlas_data(atlas)))
    samples = data["samples"]
    assert [structure["einsum"] for structure in data["structures"]] == [str(s) for s in atlas.structures]
    for n, sample in enumerate(atlas.samples):
        assert tuple(samples["theta"][7 * n : 7 * n + 7]) == sample.theta
        assert [samples[name][n] for name in ("structure", "omega", "psi", "nu")] == [
            sample.structure, sample.omega, sample.psi, sample.nu
        ]  # fmt: skip
    assert data["figures"]["space"]["layout"]["scene"]["dragmode"] == "turntable", "the view can be turned"
    assert [data["text"][n] for n in (0, 1, UNIT // 2, UNIT)] == ["0", "1/24", "0.5", "1"]


def test_every_family_has_a_mark_of_its_own_shape():
    assert set(MARKS) == set(Family) - {Family.DENSE}
    assert len({mark.symbol for mark in MARKS.values()}) == len(MARKS)
    assert len({mark.colour for mark in MARKS.values()}) == len(MARKS)


def test_the_family_of_a_structure_and_what_it_holds(atlas):
    rows = {row["einsum"]: row for row in atlas_data(atlas)["structures"]}
    families = list(MARKS)
    for structure in atlas.structures:
        assert families[rows[str(structure)]["family"]] is next(families_of(structure)).kind
    held = [families[n] for n in rows["ab,adr,ber->de"]["holds"]]
    assert held == [Family.LOW_RANK, Family.KRONECKER, Family.TENSOR_TRAIN, Family.BTT]
    assert rows["ag,agf,gef->ef"]["psi"] == "min(1, g + f)"


def test_special_cases_leave_indices_out(atlas):
    def cases(text):
        return {str(atlas.structures[n]) for n in special_cases(parse_structure(text), atlas.structures)}

    assert cases("ag,agf,gef->ef") == {"ag,agf,gef->ef", "ag,ag,ge->e", "a,af,ef->ef", "a,a,e->e"}
    assert len(cases("abg,agdfr,bgefr->def")) == 40


def test_the_same_arguments_give_the_same_bytes(page, tmp_path):
    path = write_atlas(tmp_path / "new" / "atlas.html", samples=FEWEST)
    assert path.read_text(encoding="utf-8") == page
    assert list((tmp_path / "new").iterdir()) == [path]
    assert path.stat().st_size < 8_000_000


@pytest.mark.parametrize(
    ("name", "said"),
    [("atlas.png", "has the suffix '.png'; write FILE.html"), ("atlas", "has no suffix; write FILE.html")],
)
def test_a_path_that_is_no_page(tmp_path, name, said):
    with pytest.raises(EinsearchError) as caught:
        write_atlas(tmp_path / name)
    assert str(caught.value) == f"atlas {tmp_path / name} {said}"


def test_a_page_that_cannot_be_written_is_an_error_of_one_line(tmp_path):
    (tmp_path / "folder.html").mkdir()
    with pytest.raises(EinsearchError) as caught:
        write_atlas(tmp_path / "folder.html", samples=FEWEST)
    assert str(caught.value).startswith(f"cannot write the atlas to {tmp_path}/folder.html: ")
    assert [path.name for path in tmp_path.iterdir()] == ["folder.html"]


def browse(page: Path, profile: Path, fragment: str = "") -> tuple[str, str]:
    """The page after its scripts ran, and what the browser logged."""
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    done = subprocess.run(
        [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", "--dump-dom", page.as_uri() + fragment],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout, done.stderr


WALK = """
<script>
const walked = [];
const note = (step) => walked.push({step, ...document.body.dataset, rows: element("rows").childElementCount});
const set = (name, value) => {
  form[name].value = value;
  form[name].dispatchEvent(new Event("input", {bubbles: true}));
};
note("address");
form.reset(); apply();
note("all");
form.edge.click(); note("edge"); form.edge.click();
set("nu", 12); note("nu"); set("nu", 36); note("dearer"); set("nu", 24);
set("text", "ag, agf"); note("text"); set("text", "nonsense"); note("nothing"); set("text", "");
form.querySelector("[name=family][value='5']").click(); note("named");
form.querySelector("[name=family][value='5']").click();
set("holds", 2); note("holds"); set("holds", "");
set("structure", 17); note("structure"); form.special.click(); note("special");
document.querySelector("[data-camera=full]").click();
list(places(VIEWS.unshared)[0]);
document.body.dataset.walked = JSON.stringify(walked);
</script>
</body>"""


def expected(atlas, keep):
    shown = [sample for sample in atlas.samples if keep(sample)]
    return len(shown), len({sample.structure for sample in shown})


def test_the_page_and_its_filters_work_in_a_browser(atlas, page, tmp_path):
    (tmp_path / "atlas.html").write_text(page.replace("</body>", WALK), encoding="utf-8")
    dom, log = browse(tmp_path / "atlas.html", tmp_path / "profile", "#structure=17&nu=20")
    assert "Uncaught" not in log, log
    drawn = Outline(dom.replace(get_plotlyjs(), ""))
    body = next(attributes for tag, attributes in drawn.tags if tag == "body")
    assert body["data-state"] == "ready"
    steps = {entry["step"]: entry for entry in json.loads(body["data-walked"])}
    own = [row["family"] for row in atlas_data(atlas)["structures"]]
    holds = [row["holds"] for row in atlas_data(atlas)["structures"]]
    special = special_cases(atlas.structures[17], atlas.structures)
    for step, keep in {
        "address": lambda s: s.structure == 17 and s.nu <= 20,
        "all": lambda s: s.nu <= UNIT,
        "edge": lambda s: (s.omega, s.psi) == (0, UNIT) and s.nu <= UNIT,
        "nu": lambda s: s.nu <= 12,
        "dearer": lambda s: True,
        "text": lambda s: "ag,agf" in str(atlas.structures[s.structure]) and s.nu <= UNIT,
        "nothing": lambda s: False,
        "named": lambda s: own[s.structure] != 5 and s.nu <= UNIT,
        "holds": lambda s: 2 in holds[s.structure] and s.nu <= UNIT,
        "structure": lambda s: s.structure == 17 and s.nu <= UNIT,
        "special": lambda s: s.structure in special and s.nu <= UNIT,
    }.items():
        samples, kinds = expected(atlas, keep)
        found = steps[step]
        assert (int(found["samples"]), int(found["structures"]), found["rows"]) == (samples, kinds, kinds), step
    assert len({entry["samples"] for entry in steps.values()}) == len(steps), "every filter changes the count"
    assert sum("main-svg" in (a.get("class") or "") for tag, a in drawn.tags if tag == "svg") >= 4
    for text in ("full rank, no sharing: BTT", "Monarch", "Dense", "Kronecker", "Low rank"):
        assert text in drawn.texts, text
    assert any(text.startswith("More about one: einsearch analyze") for text in drawn.texts)


def test_that_check_can_fail(page, tmp_path):
    (tmp_path / "bad.html").write_text(own(page), encoding="utf-8")
    dom, log = browse(tmp_path / "bad.html", tmp_path / "profile")
    assert "Uncaught" in log
    assert 'data-state="ready"' not in dom
