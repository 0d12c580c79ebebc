"""Random numbers that are functions of counters: no generator, no state, no waiting for the device."""

from __future__ import annotations

import torch
from torch import Tensor

MASK = (1 << 32) - 1

_ROUNDS = ((16, 0x21F0AAAD), (15, 0x735A2D97))
"""Shifts and factors of a 32-bit mixer of Chris Wellons' hash prospector; below 2^31, so that int64 holds the
products."""


def hashed(value: Tensor) -> Tensor:
    """A bijection of 32-bit integers that looks random; int64 -> int64 in [0, 2^32). Higher bits are dropped."""
    value = value & MASK
    for shift, factor in _ROUNDS:
        value = ((value ^ (value >> shift)) * factor) & MASK
    return value ^ (value >> 15)


def top_by(score: Tensor | None, noise: Tensor, count: int) -> Tensor:
    """The places of the `count` greatest scores along the last axis, the greatest first; equal ones go by noise.

    score: floating, compared as float32; None: all are equal. noise: int64 in [0, 2^32), of the same shape.
    """
    keys = noise if score is None else (_ordered(score).long() << 32) + noise
    return keys.topk(count).indices


def _ordered(score: Tensor) -> Tensor:
    """Integers of 32 bits in the order of the floats; both zeros are one."""
    bits = torch.where(score == 0, 0.0, score.float()).view(torch.int32)
    return bits ^ ((bits >> 31) & 0x7FFFFFFF)
