"""A kernel's launch as data, and who runs it: the device here, a compiler for another device in the tests."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

SHARED_MEMORY = 227 * 1024
"""Bytes of shared memory that a program may use on compute capability 9.0, which Triton's interpreter stands for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """`kernel` over `grid`, with its arguments, the constants that it is compiled for, and its warps."""

    kernel: Any
    grid: tuple[int, ...]
    arguments: Mapping[str, Tensor | int]
    constants: Mapping[str, int | str]
    warps: int

    @property
    def options(self) -> dict[str, int]:
        """One stage: the loads of rows are turned in registers, which an asynchronous copy would keep them from."""
        return {"num_warps": self.warps, "num_stages": 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """`shared`: bytes of shared memory a program may use where `run` runs."""

    shared: int
    run: Callable[[Launch], None]


def run_on_its_device(launch: Launch) -> None:
    device = next(argument.device for argument in launch.arguments.values() if isinstance(argument, Tensor))
    # Triton launches on the current device, whatever the tensors' is.
    with torch.cuda.device(device) if device.type == "cuda" else contextlib.nullcontext():
        launch.kernel[launch.grid](**launch.arguments, **launch.constants, **launch.options)


@functools.cache
def runner_for(device: torch.device) -> Runner:
    shared = SHARED_MEMORY
    if device.type == "cuda":
        import triton

        shared = triton.runtime.driver.active.utils.get_device_properties(device.index)["max_shared_mem"]
    return Runner(shared=shared, run=run_on_its_device)


def precision(dtype: torch.dtype) -> str:
    """How `tl.dot` multiplies float32, as torch's own products do on a GPU. It changes nothing for 16 bits."""
    full = dtype == torch.float32 and torch.backends.cuda.matmul.fp32_precision != "tf32"
    return "ieee" if full else "tf32"
