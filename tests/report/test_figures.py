"""The figures show what is stored, and read without colour."""

import pytest

from einsearch.report.budget_figure import budget_figure
from einsearch.report.leader_figures import multiplier_figure, taxonomy_figure
from einsearch.report.loss_figure import loss_figure
from einsearch.report.spending_figure import spending_figure
from einsearch.report.style import LEADER_COLOURS, LEADER_DASHES, LEADER_MARKERS, plain_ticks, power_ticks
from einsearch.report.summary import summarize

FIGURES = {
    "loss": lambda data, summary: loss_figure(data, summary.leaders),
    "multiplier": lambda data, summary: multiplier_figure(summary.leaders),
    "taxonomy": lambda data, summary: taxonomy_figure(summary.leaders),
    "budget": lambda data, summary: budget_figure(summary.budget),
    "spending": lambda data, summary: spending_figure(data),
}


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_of_nothing_and_of_everything(name, recorder):
    """Of an empty study, with a queued candidate, with dense, with a ranked candidate."""
    steps = (lambda: None, lambda: recorder.add(width=16), recorder.dense, recorder.search)
    for step in steps:
        step()
        data = recorder.data()
        figure = FIGURES[name](data, summarize(data))
        assert figure.to_json()
        assert figure.data or figure.layout.annotations[0].text.startswith("No ")


def test_all_curves_are_drawn(full):
    figure = loss_figure(full, summarize(full).leaders[:2])
    names = [trace.name for trace in figure.data]
    assert names == [
        "other candidates", "dense runs, by width", "dense runs, by width", "dense frontier",
        "2. Kronecker, width 32", "1. BTT rank 1, width 32",
    ]  # fmt: skip
    best = figure.data[-1]
    curve = next(curve for curve in full.curves if curve.trial.label == "BTT rank 1" and curve.trial.rung == 2)
    assert list(zip(best.x, best.y, strict=True)) == curve.losses
    assert "multiplier 1.50" in best.hovertext[-1]
    labels = [annotation.text for annotation in figure.layout.annotations]
    assert labels == ["rung 0", "rung 1", "rung 2", "16", "32"]


def test_leaders_differ_without_colour(recorder):
    for width in (16, 32, 48, 64, 80):
        recorder.search(width=width)
    data = recorder.data()
    traces = loss_figure(data, summarize(data).leaders).data
    assert len({(trace.line.dash, trace.marker.symbol) for trace in traces}) == len(traces) == 5
    assert len(LEADER_COLOURS) == len(LEADER_DASHES) == len(LEADER_MARKERS) == len(set(LEADER_COLOURS))


def test_bounds_have_open_marks(recorder):
    recorder.dense()
    recorder.search("btt", multiplier=9)
    recorder.search("low-rank(1/2)", multiplier=0.01)
    recorder.search("btt(1/4)", multiplier=1)
    figure = multiplier_figure(summarize(recorder.data()).leaders)
    assert {trace.name: trace.marker.symbol for trace in figure.data} == {
        "measured": "circle",
        "≥ at least": "triangle-right-open",
        "≤ at most": "triangle-left-open",
    }
    assert all(trace.showlegend for trace in figure.data)


def test_candidates_at_one_place_are_all_seen(recorder):
    recorder.dense()
    for width in (16, 32, 48):
        recorder.search(width=width)
    marks = taxonomy_figure(summarize(recorder.data()).leaders).data[0]
    assert len(set(zip(marks.x, marks.y, strict=True))) == 3
    assert all(abs(x - 0.5) < 0.05 for x in marks.x)


def test_the_budget_is_a_stack(full):
    bars = budget_figure(summarize(full).budget).data
    ends = [bar.base[0] + bar.x[0] for bar in bars]
    assert [bar.base[0] for bar in bars] == pytest.approx([0, *ends[:-1]])
    assert ends[-1] == pytest.approx(1)


def test_spending_ends_at_what_was_booked(full):
    traces = spending_figure(full).data
    assert [trace.name for trace in traces] == [
        "dense ladder", "search to rung 0", "search to rung 1", "search to rung 2", "lost"
    ]  # fmt: skip
    parts = {part.name: part.flops for part in summarize(full).budget}
    assert {trace.name: trace.y[-1] for trace in traces} == {trace.name: parts[trace.name] for trace in traces}
    assert all(list(trace.y) == sorted(trace.y) and trace.y[0] == 0 for trace in traces)
    assert list(traces[0].x) == sorted(traces[0].x)


def test_a_thousand_curves_say_nothing_under_the_pointer(recorder, monkeypatch):
    monkeypatch.setattr("einsearch.report.loss_figure._MOST_TOLD", 1)
    recorder.dense()
    for width in (16, 32):
        recorder.search(width=width)
    data = recorder.data()
    grey = loss_figure(data, []).data[0]
    assert (grey.name, grey.hoverinfo, grey.hovertext) == ("other candidates", "skip", None)
    assert len([flops for flops in grey.x if flops is not None]) == 12


def test_ticks():
    assert power_ticks(1.5e10, 6e11)["ticktext"] == ["2×10¹⁰", "5×10¹⁰", "10¹¹", "2×10¹¹", "5×10¹¹"]
    assert power_ticks(1e9, 1e15)["ticktext"] == [f"10{n}" for n in ("⁹", "¹⁰", "¹¹", "¹²", "¹³", "¹⁴", "¹⁵")]
    assert plain_ticks(1.7, 3.6)["ticktext"] == ["2", "2.5", "3", "3.5"]
