"""Mixtures are timed only where they compute what the reference computes."""

import pytest
import torch

from einsearch.bench.layer import PASSES
from einsearch.bench.mixture import MixtureCase, refusals, time_mixtures
from einsearch.bench.mixture_rows import mixture_plot, mixture_rows, mixture_tables
from einsearch.bench.place import Place
from einsearch.errors import EinsearchError
from einsearch.kernels.einsum_moe import reference
from einsearch.layers.moe_implementations import IMPLEMENTATIONS, Implementation

CPU = Place(device=torch.device("cpu"), dtype=torch.float32)
NAMES = ("reference", "grouped", "feature-major", "merged")


def case(**changed: object) -> MixtureCase:
    return MixtureCase(**{"layer": "btt", "d": 18, "tokens": 11, "experts": (2, 5), "active": 2} | changed)  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_every_implementation_is_timed_at_every_number_of_experts(dtype: torch.dtype) -> None:
    timed = time_mixtures(case(d=17), Place(device=torch.device("cpu"), dtype=dtype), NAMES, repeats=2)
    expected = [(None, None), *((name, experts) for experts in (2, 5) for name in NAMES)]
    for passes in PASSES:
        assert [(each.implementation, each.experts) for each in timed if each.passes == passes] == expected
    assert all(len(each.times.seconds) == 2 for each in timed)


def forgets_the_gate(x, factors, operator, gate, expert):
    return reference.einsum_moe(x, factors, operator, torch.ones_like(gate) * gate.mean(), expert)


def takes_the_next_expert(x, factors, operator, gate, expert):
    return reference.einsum_moe(x, factors, operator, gate, (expert + 1) % len(factors[0]))


def forgets_a_gradient(x, factors, operator, gate, expert):
    return reference.einsum_moe(x, factors, operator, gate.detach() + 0 * gate, expert)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [(forgets_the_gate, "y"), (takes_the_next_expert, "y"), (forgets_a_gradient, "gradient of gate")],
)
def test_a_wrong_implementation_is_not_timed(wrong, named: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(IMPLEMENTATIONS, "wrong", Implementation(layer=wrong))
    message = f"^wrong of btt with 2 experts at d 18, 11 tokens computes something else than the reference: {named} "
    with pytest.raises(EinsearchError, match=message):
        time_mixtures(case(), CPU, ("wrong",), repeats=1)


def test_the_rows_compare_with_dense_and_with_the_fewest_experts() -> None:
    chosen = case()
    rows = list(mixture_rows(chosen, time_mixtures(chosen, CPU, NAMES, repeats=3)))
    macs = {row.experts: row.flops for row in rows if row.passes == "forward"}
    assert macs == {None: 2 * 11 * 18 * 18, 2: 2 * 11 * 2 * chosen.operator.macs, 5: 2 * 11 * 2 * chosen.operator.macs}
    both = {row.experts: row.flops for row in rows if row.passes != "forward"}
    assert both == {experts: 3 * flops for experts, flops in macs.items()}
    assert {row.of_fewest for row in rows if row.experts == 2} == {1.0}
    assert {row.of_fewest for row in rows if row.experts is None} == {None}
    assert all(row.speedup == 1.0 for row in rows if row.experts is None)
    (table,) = mixture_tables(rows)
    assert table.row_count == 2 * (1 + 1 + 2 * len(NAMES))
    panels = mixture_plot(rows).panels
    assert [panel.detail for panel in panels] == [f"11 tokens, 2 active, {passes}" for passes in PASSES]
    assert [line.name for line in panels[0].lines] == ["nn.Linear", *NAMES]
    assert all([x for x, _ in line.points] == [2, 5] for panel in panels for line in panel.lines)


def test_what_cannot_run_says_why() -> None:
    assert list(refusals(case(), CPU, ("grouped", "triton"))) == ["triton"]
    assert "Triton" in refusals(case(), CPU, ("triton",))["triton"]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"experts": (4, 1)}, "experts of a mixture is 1; it must be an integer of at least 2"),
        ({"active": 3}, "a mixture of 2 experts has 3 active; give at least as many experts as active"),
        ({"tokens": 0}, "tokens is 0; it must be at least 1"),
    ],
)
def test_what_does_not_fit_is_refused(changed: dict[str, object], message: str) -> None:
    with pytest.raises(EinsearchError, match=f"^{message}$"):
        case(**changed)
