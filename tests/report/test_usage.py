"""Lines of Python for a user's model, of candidates with and without mixtures of experts."""

import pytest
import torch

import einsearch
from einsearch.report.html import render_html
from einsearch.report.usage import usage_of
from einsearch.space.candidate import Candidate
from einsearch.space.mixture import Mixture
from einsearch.space.model_shape import ModelShape
from einsearch.space.parse import parse

SHAPE = ModelShape(width=64)
CASES = {
    "plain": ("btt", None, ["layer"]),
    "sites": ("btt / dense", None, ["attention_layer", "ffn_layer"]),
    "layer": ("btt", Mixture(experts=8, active=2), ["layer", "router"]),
    "some": ("btt", Mixture(experts=8, active=2, layers=("o",)), ["q_layer", "o_layer", "down_layer", "router"]),
    "ffn": ("dense", Mixture(experts=4, active=1, per="ffn", routing="hash"), ["layer", "ffn", "router"]),
    "ffn apart": ("btt / dense", Mixture(experts=4, active=1, per="ffn"), ["layer", "ffn", "router"]),
    "attention": ("btt", Mixture(experts=4, active=1, layers=("q", "k", "v", "o")), ["attention_layer", "ffn_layer"]),
}


def candidate_of(text: str, mixture: Mixture | None) -> Candidate:
    attention, _, ffn = text.partition(" / ")
    return Candidate.of_sites({"attention": parse(attention), "ffn": parse(ffn or attention)}, SHAPE, mixture)


@pytest.mark.parametrize(("text", "mixture", "names"), CASES.values(), ids=CASES)
def test_the_lines_run(text: str, mixture: Mixture | None, names: list[str]) -> None:
    lines = usage_of(candidate_of(text, mixture))
    model = torch.nn.Linear(2, 2)
    found = {"torch": torch, "model": model, "lr": 1e-3, "d_in": 16, "d_out": 24, "d": 16, "d_hidden": 32}
    exec(lines, found)
    assert isinstance(found["optimizer"], torch.optim.AdamW)
    x = torch.randn(5, 16)
    arguments = (x, torch.arange(5)) if mixture is not None and mixture.routing == "hash" else (x,)
    for name in names:
        module = found[name]
        if isinstance(module, einsearch.EinsumLinear):
            assert module(x).shape == (5, 24)
        elif name != "router":
            assert module(x, found["router"](*arguments)).shape == (5, 16 if name == "ffn" else 24)


def test_what_is_left_out_is_not_imported() -> None:
    dense = usage_of(candidate_of("btt", Mixture(experts=8, active=2)))
    assert "EinsumLinear" not in dense
    assert "Router" not in usage_of(candidate_of("btt", None))


def test_the_page_of_a_study_that_a_mixture_leads(recorder) -> None:
    mixture = Mixture(experts=8, active=2)
    candidate = candidate_of("btt", mixture)
    recorder.search("btt", candidate=candidate.to_json(), label=candidate.label, key=candidate.key)
    page = render_html(recorder.data())
    assert "EinsumMoE(d_in, d_out," in page
    assert "BTT-MoE 2/8" in page
