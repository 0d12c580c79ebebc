"""Under muP the activations of every kind of layer move as far at every width; the check can tell where they do not.

The widths up to 1024, more kinds and the numbers are in studies/learning-rate-transfer.
"""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import nn

from einsearch.proxy.coordinates import LIMIT, coordinate_changes, width_slopes
from einsearch.proxy.gpt2 import ProxyGPT2
from einsearch.proxy.optimizer import optimizer_of
from einsearch.proxy.protocol import Protocol, Setting
from einsearch.space.candidate import Candidate, ModelShape
from einsearch.space.mixture import Mixture
from einsearch.space.parse import parse

WIDTHS = (64, 256, 512)
NARROW = (64, 256)
KINDS: dict[str, tuple[str, Mixture | None]] = {
    "dense": ("dense", None),
    "BTT": ("btt", None),
    "low rank": ("low-rank", None),
    "Kronecker": ("kronecker", None),
    "Tensor-Train": ("tensor-train(1/4)", None),
    "no name": ("(1/2|1/4|1/4|1/4|1/2|1/4|1/4)", None),
    "three factors": ("monarch(factors=3)", None),
    "BTT-MoE": ("btt", Mixture(experts=4, active=2)),
    "standard MoE": ("dense", Mixture(experts=4, active=2, per="ffn")),
}
ADAM = Protocol(context=16, batch=8, learning_rate=2e-3)
SGD = replace(ADAM, optimizer="sgd", learning_rate=1.0, momentum=0.0)

Spoil = Callable[[nn.Parameter, str, float, int], float]
"""Another multiplier, from a parameter, its name, its multiplier and the width."""


def slopes(
    kind: str,
    protocol: Protocol = ADAM,
    *,
    widths: tuple[int, ...] = WIDTHS,
    spoil: Spoil = lambda parameter, name, multiplier, width: multiplier,
    scaled: bool = True,
) -> dict[str, float]:
    """The powers of the width that the changes of a model follow in its first 6 steps."""
    structure, mixture = KINDS[kind]
    changes = {}
    for width in widths:
        own = protocol if scaled else replace(protocol, base_width=width)
        setting = Setting(
            protocol=own, code="", data_name="", data_hash="", torch="", device="cpu", precision="float32"
        )
        model = ProxyGPT2(Candidate.of(parse(structure), ModelShape(width=width), mixture), own, seed=0)
        optimizer = optimizer_of(model, setting)
        names = {parameter: name for name, parameter in model.named_parameters()}
        optimizer.param_groups[:] = [
            group
            | {
                "params": [parameter],
                "lr": own.learning_rate * spoil(parameter, names[parameter], group["multiplier"], width),
            }
            for group in optimizer.param_groups
            for parameter in group["params"]
        ]
        window = torch.randint(96, (own.batch, own.context + 1), generator=torch.Generator().manual_seed(7))
        changes[width] = coordinate_changes(model, optimizer, window, steps=6)
    return width_slopes(changes)


def outside(found: dict[str, float]) -> dict[str, float]:
    return {name: slope for name, slope in found.items() if abs(slope) > LIMIT}


@pytest.mark.parametrize("kind", KINDS)
def test_activations_move_as_far_at_every_width(kind: str) -> None:
    assert outside(slopes(kind, widths=WIDTHS if KINDS[kind][1] is None else NARROW)) == {}


@pytest.mark.parametrize("kind", ["dense", "BTT", "Kronecker"])
def test_by_sgd_too(kind: str) -> None:
    """Not layer by layer: gradients grow by powers from zero, so a layer's part hangs on a step more or less; one step
    of a layer is in tests/layers/test_parametrize.py."""
    found = outside(slopes(kind, SGD))
    assert [name for name in found if not name.startswith("weights of")] == []


def test_without_weight_normalization_too() -> None:
    assert outside(slopes("BTT", replace(ADAM, weight_normalization=False))) == {}


def as_standard(parameter: nn.Parameter, name: str, multiplier: float, width: int) -> float:
    return 1.0


def head_as_standard(parameter: nn.Parameter, name: str, multiplier: float, width: int) -> float:
    return 1.0 if name.startswith("head") else multiplier


def factors_as_dense(parameter: nn.Parameter, name: str, multiplier: float, width: int) -> float:
    return 64 / width if ".factors." in name else multiplier


def without_blocks(parameter: nn.Parameter, name: str, multiplier: float, width: int) -> float:
    """Fan-out over fan-in of a block, without the number of blocks: the square root of the width for BTT."""
    return multiplier / width**0.5 if ".factors." in name else multiplier


@pytest.mark.parametrize("kind", ["dense", "BTT", "low rank", "Kronecker"])
def test_standard_parametrization_is_rejected(kind: str) -> None:
    found = outside(slopes(kind, spoil=as_standard, widths=NARROW))
    assert found["logits"] > LIMIT


@pytest.mark.parametrize("kind", ["dense", "BTT", "three factors"])
def test_multipliers_that_do_not_see_the_width_are_rejected(kind: str) -> None:
    found = outside(slopes(kind, scaled=False, widths=NARROW))
    assert min(found[f"weights of {name}"] for name in ("q", "k", "v", "hidden")) > LIMIT


def test_a_head_that_learns_as_fast_at_every_width_is_rejected() -> None:
    found = outside(slopes("BTT", spoil=head_as_standard, widths=NARROW))
    assert found.keys() == {"logits"}


@pytest.mark.parametrize(("spoil", "protocol"), [(factors_as_dense, ADAM), (without_blocks, SGD)])
def test_factors_that_learn_too_slowly_are_rejected(spoil: Spoil, protocol: Protocol) -> None:
    found = outside(slopes("BTT", protocol, spoil=spoil))
    assert max(found["weights of q"], found["weights of k"]) < -LIMIT


def test_the_powers_of_made_up_changes() -> None:
    changes = {width: {"flat": 0.3, "root": 0.1 * width**0.5, "lazy": 5 / width} for width in (64, 100, 1024)}
    assert width_slopes(changes) == pytest.approx({"flat": 0, "root": 0.5, "lazy": -1})
