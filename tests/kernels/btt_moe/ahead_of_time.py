"""Compile the kernels for a GPU that is not here: what they take of its registers and shared memory.

    python -m tests.kernels.btt_moe.ahead_of_time CAPABILITY DTYPE ALPHA GAMMA EPSILON PHI RHO [KERNEL ...]

prints one JSON object a launch of a forward and a backward pass (of the named kernels only), for 16,384 tokens and 2
active of 16 experts. The launches are those that the operators would make, on tensors without memory. TRITON_INTERPRET
must not be set, as it replaces the compiler: the tests run this in a process of its own.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
import triton
from triton.backends.compiler import GPUTarget

from einsearch.kernels.btt_moe.direction import Direction, pack_a, pack_b
from einsearch.kernels.btt_moe.dispatch import Routing
from einsearch.kernels.btt_moe.launch import Launch, Runner
from einsearch.kernels.btt_moe.run import Mixture

SHARED_MEMORY = {80: 163 * 1024, 90: 227 * 1024}
"""Bytes of shared memory that a program may use, by compute capability."""


TOKENS, EXPERTS, ACTIVE = 16384, 16, 2


def launches(sizes: tuple[int, int, int, int, int], *, dtype: torch.dtype, shared: int) -> list[Launch]:
    """Of a forward and a backward pass; sizes are alpha, gamma, epsilon, phi, rho."""
    alpha, gamma, epsilon, phi, rho = sizes
    found: list[Launch] = []
    a = torch.empty(EXPERTS, alpha, gamma, phi, rho, dtype=dtype, device="meta")
    b = torch.empty(EXPERTS, gamma, epsilon, phi, rho, dtype=dtype, device="meta")
    x = torch.empty(TOKENS, alpha * gamma, dtype=dtype, device="meta")
    dy = torch.empty(TOKENS, epsilon * phi, dtype=dtype, device="meta")
    routing = Routing(
        gate=torch.empty(TOKENS, ACTIVE, device="meta"),
        order=torch.empty(TOKENS * ACTIVE, dtype=torch.int64, device="meta"),
        offsets=torch.empty(EXPERTS + 1, dtype=torch.int32, device="meta"),
    )
    there = Mixture(
        direction=Direction.of(a, b), routing=routing, runner=Runner(shared=shared, run=found.append), dtype=dtype
    )
    back, a, b = there.reversed(), pack_a(a), pack_b(b)
    there.product(x, a, b)
    middle = back.product(dy, b, a, probe=x).middle
    there.first_gradient(x, dy, b, middle, like=a)
    back.first_gradient(dy, x, a, None, like=b)
    return found


@dataclass(frozen=True, slots=True)
class AbsentGpu:
    """What Triton asks of a driver until it loads a kernel."""

    capability: int

    def get_current_target(self) -> GPUTarget:
        return GPUTarget("cuda", self.capability, 32)

    def get_current_device(self) -> int:
        """A number of its own for each capability, as Triton keeps what it compiled by device."""
        return self.capability

    def get_current_stream(self, device: int) -> int:
        return 0


def compiled(launch: Launch, capability: int) -> dict[str, object]:
    """What the compiler says of a launch: bytes of shared memory; a thread's registers and bytes spilled."""
    triton.runtime.driver.set_active(AbsentGpu(capability))
    kernel = launch.kernel.warmup(grid=launch.grid, **launch.arguments, **launch.constants, **launch.options)
    ptx = kernel.asm["ptx"]
    return {
        "kernel": launch.kernel.__name__,
        "warps": launch.warps,
        "shared": kernel.metadata.shared,
        **assembled(ptx, capability),
        "tensor_core_products": len(re.findall(r"mma\.sync|wgmma\.mma", ptx)),
        "narrow_shared_accesses": len(re.findall(r"(?:ld|st)\.shared\.b(?:8|16)", ptx)),
        "tile": {name: value for name, value in launch.constants.items() if len(name) == 1 or name == "CHUNK"},
    }


def assembled(ptx: str, capability: int) -> dict[str, int]:
    ptxas = Path(triton.__file__).parent / "backends/nvidia/bin/ptxas"
    name = f"sm_{capability}a" if capability == 90 else f"sm_{capability}"
    with tempfile.NamedTemporaryFile("w", suffix=".ptx") as file:
        file.write(ptx)
        file.flush()
        command = [str(ptxas), "-v", f"--gpu-name={name}", "-o", "/dev/null", file.name]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stderr
    patterns = {"registers": r"Used (\d+) registers", "spilled": r"(\d+) bytes spill stores"}
    found = {key: re.search(pattern, said) for key, pattern in patterns.items()}
    return {key: int(match[1]) for key, match in found.items() if match}


def main(capability: str, dtype: str, alpha: str, gamma: str, epsilon: str, phi: str, rho: str, *kernels: str) -> None:
    sizes = int(alpha), int(gamma), int(epsilon), int(phi), int(rho)
    for launch in launches(sizes, dtype=getattr(torch, dtype), shared=SHARED_MEMORY[int(capability)]):
        if not kernels or launch.kernel.__name__ in kernels:
            print(json.dumps(compiled(launch, int(capability))), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
