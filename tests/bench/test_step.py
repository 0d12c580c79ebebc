"""Training steps: checked against the reference, beside dense, and only what can be trained."""

import io

import pytest
import torch
from rich.console import Console

from einsearch.bench.place import Place
from einsearch.bench.step import StepCase, precision, time_steps
from einsearch.bench.step_rows import step_rows, step_tables
from einsearch.errors import EinsearchError
from einsearch.kernels.einsum import reference
from einsearch.layers.implementations import IMPLEMENTATIONS, Implementation
from einsearch.proxy.flops import flops_per_step
from einsearch.proxy.protocol import Protocol

CPU = Place(device=torch.device("cpu"), dtype=torch.float32)
TINY = Protocol(context=8, batch=2)


def case(*layers: str, **changes: object) -> StepCase:
    return StepCase(**({"layers": layers or ("btt",), "width": 16, "protocol": TINY} | changes))


@pytest.fixture(scope="module")
def steps():
    return time_steps(case("btt(1/4)", implementations=("reference", "merged")), CPU, repeats=2)


def test_every_model_in_both_layouts(steps):
    found = [(step.layer, step.implementation, step.activations, step.runs) for step in steps]
    assert [each[:3] for each in found] == [
        (layer, implementation, activations)
        for layer, implementation in [(None, "auto"), ("btt(1/4)", "reference"), ("btt(1/4)", "merged")]
        for activations in ("row-major", "feature-major")
    ]
    assert [each[3] for each in found[2:]] == [("reference",)] * 2 + [("merged",)] * 2
    assert all(len(step.times.seconds) == 2 and step.compile_seconds is None for step in steps)


def test_rows_compare_with_the_faster_dense_model(steps):
    chosen = case("btt(1/4)", implementations=("reference", "merged"))
    rows = list(step_rows(chosen, steps))
    dense = min(rows[:2], key=lambda row: row.milliseconds)
    assert dense.speedup == 1.0
    for row in rows:
        assert row.flops == flops_per_step(chosen.candidate(row.layer), 8, 2)
        assert row.tokens_per_second == pytest.approx(16 / (row.milliseconds / 1e3))
        assert row.flops_per_second == pytest.approx(row.flops / (row.milliseconds / 1e3))
    out = Console(width=100, record=True, file=io.StringIO())
    for table in step_tables(rows):
        out.print(table)
    text = out.export_text()
    assert "Training step, width 16, eager" in text
    assert "compile s" not in text
    assert text.count("btt(1/4)") == 4


def test_deterministic_mode_is_as_before_afterwards(steps):
    assert torch.utils.deterministic.fill_uninitialized_memory is True
    assert torch.get_deterministic_debug_mode() == 2


def test_a_wrong_implementation_is_never_timed(monkeypatch):
    def wrong(x, factors, operator):
        return 1.1 * reference.einsum_linear(x, factors, operator)

    monkeypatch.setitem(IMPLEMENTATIONS, "wrong", Implementation(row_major=wrong))
    message = r"^wrong, row-major, eager of btt at width 16 computes something else than the reference: .*not timed$"
    with pytest.raises(EinsearchError, match=message):
        time_steps(case(implementations=("wrong",)), CPU, repeats=1)


def test_what_cannot_run_is_refused(monkeypatch):
    picky = Implementation(row_major=reference.einsum_linear, refuses=lambda *_: "it needs a GPU")
    monkeypatch.setitem(IMPLEMENTATIONS, "picky", picky)
    with pytest.raises(EinsearchError, match=r"^implementation picky cannot run btt: it needs a GPU; leave it out$"):
        case(implementations=("picky",)).require_valid(CPU)


@pytest.mark.parametrize(
    ("layers", "width", "message"),
    [
        (("btt",), 17, "^width 17 is not divisible by head size 16"),
        (("btt(3/4)",), 16, r"^structure btt\(3/4\) cannot be trained at width 16: "),
    ],
)
def test_what_cannot_be_trained_is_refused(layers, width, message):
    with pytest.raises(EinsearchError, match=message):
        case(*layers, width=width).require_valid(CPU)


def test_models_train_in_two_dtypes():
    for name in ("float32", "bfloat16"):
        assert precision(Place(device=torch.device("cpu"), dtype=getattr(torch, name))) == name
    with pytest.raises(
        EinsearchError, match=r"^dtype float16 is not one that models train in; give float32 or bfloat16"
    ):
        precision(Place(device=torch.device("cpu"), dtype=torch.float16))


def test_bfloat16_is_autocast():
    place = Place(device=torch.device("cpu"), dtype=torch.bfloat16)
    assert len(time_steps(case(implementations=("reference",)), place, repeats=1)) == 4
