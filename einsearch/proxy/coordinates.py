"""The coordinate check: how far activations move in the first steps of training, and whether the width matters.

In muP it does not; where a learning rate is wrong by a power of the width, some activation's change grows or
vanishes with it (arXiv 2203.03466, appendix D.1).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from einsearch.proxy.gpt2 import ProxyGPT2
from einsearch.proxy.optimizer import clip_gradients

LIMIT = 3 / 8
"""Of the power of the width that a change may follow: midway between what is right and what is wrong. An error by the
root of the width shifts a power by 1/2. Without one powers down to -1/4 are seen at these widths: where an intermediate
starts small (low rank), or a factor serves many positions of one token (shared factors), it takes more than a few steps
until updates are aligned."""

WATCHED = {"q": "q", "k": "k", "v": "v", "up": "hidden", "experts": "experts"}
"""The layers of a block whose outputs are watched, and what these are called. Those of `o` and `down`, which start at
zero, are the changes of the stream."""


def coordinate_changes(
    model: ProxyGPT2, optimizer: torch.optim.Optimizer, window_BT1: Tensor, steps: int
) -> dict[str, float]:
    """Train on one batch and return root mean square changes of activations, over all blocks.

    stream: after a block. q, k, v, o, hidden (after `up`, before GELU), down, experts: outputs of layers.
    logits. `weights of q` and so on: the part that is due to the layer's own weights: the difference of
    its outputs with the weights of now and of the start, on the inputs of now.
    """
    model.activations = "row-major"
    start = copy.deepcopy(model)
    for _ in range(steps):
        losses = model.training_losses(window_BT1)
        optimizer.zero_grad(set_to_none=True)
        losses.objective.backward()
        clip_gradients(model, optimizer, model.protocol)
        optimizer.step()
        model.after_step(losses.routings)
    before, now = _calls(start, window_BT1), _calls(model, window_BT1)
    squares: dict[str, list[Tensor]] = {}
    for name, (given, output) in now.items():
        kind = _kind(name)
        squares.setdefault(kind, []).append((output - before[name][1]).square().mean())
        if kind not in ("stream", "logits"):
            with torch.no_grad():
                own = output - start.get_submodule(name)(*given)
            squares.setdefault(f"weights of {kind}", []).append(own.square().mean())
    return {kind: torch.stack(values).mean().sqrt().item() for kind, values in squares.items()}


def _kind(name: str) -> str:
    own = name.rpartition(".")[2]
    return "logits" if own == "head" else WATCHED.get(own, "stream")


@torch.no_grad()
def _calls(model: ProxyGPT2, window_BT1: Tensor) -> dict[str, tuple[tuple[Any, ...], Tensor]]:
    """What watched modules are given in a forward pass, and what they return, by name."""
    found: dict[str, tuple[tuple[Any, ...], Tensor]] = {}
    watched: dict[str, nn.Module] = {"head": model.head}
    for n, block in enumerate(model.blocks):
        watched[f"blocks.{n}"] = block
        watched |= {f"blocks.{n}.{name}": module for name, module in block.named_children() if name in WATCHED}
    hooks = [module.register_forward_hook(_recorder(found, name)) for name, module in watched.items()]
    try:
        model(window_BT1[:, :-1])
    finally:
        for hook in hooks:
            hook.remove()
    return found


def _recorder(found: dict[str, tuple[tuple[Any, ...], Tensor]], name: str) -> Any:
    def record(module: nn.Module, given: tuple[Any, ...], output: Tensor) -> None:
        found[name] = given, output

    return record


def width_slopes(changes: Mapping[int, Mapping[str, float]]) -> dict[str, float]:
    """The power of the width that each change follows, by least squares over the logarithms.

    changes: width -> name -> change, at two widths at least.

    >>> width_slopes({64: {"q": 0.5}, 256: {"q": 1.0}, 1024: {"q": 2.0}})
    {'q': 0.5}
    """
    widths = np.log(list(changes))
    names = next(iter(changes.values()))
    return {
        name: round(float(np.polyfit(widths, [math.log(changes[width][name]) for width in changes], 1)[0]), 6)
        for name in names
    }
