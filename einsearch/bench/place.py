"""Where speed is measured: device, type of the numbers, threads, memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from einsearch.errors import EinsearchError
from einsearch.proxy.device import devices, keep_freed_memory, usable_cores

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A device and how it is used. Build one with :meth:`of`.

    threads: of the CPU's matrix products. keep_memory: whether freed memory stays with this process, as in trials.
    """

    device: torch.device
    dtype: torch.dtype
    threads: int = 1
    keep_memory: bool = True

    @classmethod
    def of(cls, device: str, dtype: str | None, threads: int, keep_memory: bool = True) -> Place:
        """device: auto, cpu or cuda. dtype: a name of DTYPES; None is what trials train in on that device.

        Raises EinsearchError where one of them is unknown or not there.
        """
        found = devices(device)[0]
        name = dtype or ("bfloat16" if found.type == "cuda" else "float32")
        if name not in DTYPES:
            raise EinsearchError(f"unknown dtype {name!r}; known: {', '.join(DTYPES)}")
        if not 1 <= threads <= usable_cores():
            raise EinsearchError(f"threads is {threads}; give 1 to {usable_cores()}, the cores that may be used here")
        return cls(device=found, dtype=DTYPES[name], threads=threads, keep_memory=keep_memory)

    @property
    def dtype_name(self) -> str:
        return str(self.dtype).removeprefix("torch.")

    @contextmanager
    def settled(self) -> Iterator[None]:
        """Within it torch computes as this place says. What the C library keeps, it keeps for good."""
        before = torch.get_num_threads()
        torch.set_num_threads(self.threads)
        if self.device.type == "cpu" and self.keep_memory:
            keep_freed_memory()
        if self.device.type == "cuda":
            torch.cuda.set_device(self.device)
        try:
            yield
        finally:
            torch.set_num_threads(before)

    def __str__(self) -> str:
        if self.device.type == "cuda":
            return f"{self.device}, {self.dtype_name}"
        memory = "freed memory is kept, as in trials" if self.keep_memory else "freed memory goes back to the system"
        return f"CPU, {self.threads} thread{'s' * (self.threads > 1)}, {self.dtype_name}; {memory}"
