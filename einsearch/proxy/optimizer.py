"""The optimizer of a trial: AdamW or SGD as the protocol says, its groups by muP, and the clipping that fits it."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from einsearch.layers.parametrize import param_groups
from einsearch.proxy.gpt2 import ProxyGPT2
from einsearch.proxy.protocol import Protocol, Setting


def optimizer_of(model: ProxyGPT2, setting: Setting) -> torch.optim.Optimizer:
    """The fused optimizer of a protocol; its groups have a `multiplier`, which a schedule has to keep."""
    protocol = setting.protocol
    groups = param_groups(
        model,
        protocol.learning_rate,
        base=model.base_fans,
        optimizer=protocol.optimizer,
        weight_decay=protocol.weight_decay,
    )
    if protocol.optimizer == "sgd":
        return torch.optim.SGD(groups, momentum=protocol.momentum, fused=True)
    return torch.optim.AdamW(groups, betas=(protocol.beta1, protocol.beta2), eps=protocol.epsilon, fused=True)


def clip_gradients(model: nn.Module, optimizer: torch.optim.Optimizer, protocol: Protocol) -> Tensor:
    """Scale all gradients down to the norm protocol.clip where theirs is greater, and return what it was.

    For SGD the squares are weighted by the multipliers: the learning rate times this sum is the loss that a small
    step takes off, so it does not grow with the width. The plain norm does, as the square root of the width (by the
    head's gradient), and clipping to it would undo muP. Adam divides a gradient by its size: there it is plain.
    """
    if protocol.optimizer == "adamw":
        return nn.utils.clip_grad_norm_(model.parameters(), protocol.clip)
    norms = []
    for group in optimizer.param_groups:
        gradients = [parameter.grad for parameter in group["params"] if parameter.grad is not None]
        norms.append(nn.utils.get_total_norm(gradients) * math.sqrt(group["multiplier"]))
    norm = torch.linalg.vector_norm(torch.stack(norms))
    nn.utils.clip_grads_with_norm_(model.parameters(), protocol.clip, norm)
    return norm
