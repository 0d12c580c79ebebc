"""The kernels compile for GPUs, without one: into what fits their shared memory, with tensor cores, without spills."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton")

COMPILE = """
import json
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from einsearch.kernels.btt import backward, forward
from einsearch.kernels.btt.choose import choose_gradient, choose_product
from einsearch.kernels.btt.launch import _by_name
from einsearch.kernels.btt.sizes import Sizes


def compiled(kernel, config, capability, pointers, constants):
    constants = {**constants, **dict(config.tile), "WARPS": config.warps, "PRECISION": "tf32"}
    signature = {
        name: "constexpr" if name in constants else pointers.get(name, "i32") for name in kernel.arg_names
    }
    aligned = {(n,): [["tt.divisibility", 16]] for n, name in enumerate(kernel.arg_names) if name in pointers}
    return triton.compile(
        ASTSource(kernel, signature, constants, aligned),
        target=GPUTarget("cuda", capability, 32),
        options={"num_warps": config.warps, "num_stages": 1},
    )


sizes = Sizes(alpha=16, gamma=16, epsilon=16, phi=16, rho=1)
found = {}
for kernel, config, capability, pointers in (
    (forward.resident_product, choose_product(sizes).launches[0][0], 90, ("x", "first", "second", "y")),
    (backward.fused_gradient, choose_gradient(sizes).launches[0][0], 80, ("x", "dy", "exchanged", "partial")),
):
    types = {name: "*fp32" if name == "partial" else "*bf16" for name in pointers}
    kernel = compiled(kernel, config, capability, types, _by_name(sizes))
    found[str(capability)] = {
        "shared": kernel.metadata.shared,
        "tensor cores": kernel.asm["ptx"].count("mma.sync"),
        "local memory": kernel.asm["ptx"].count("st.local"),
        "wide loads": kernel.asm["ptx"].count("ld.global.v4.b32"),
    }
print(json.dumps(found))
"""


def test_the_kernels_of_width_256_compile(tmp_path: Path) -> None:
    """In a process of its own: in this one the kernels are interpreted."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    run = subprocess.run(
        [sys.executable, "-c", COMPILE],
        env=environment | {"TRITON_CACHE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    for facts in json.loads(run.stdout).values():
        assert 0 < facts["shared"] <= 99 * 1024
        assert facts["tensor cores"] > 0
        assert facts["local memory"] == 0
        assert facts["wide loads"] > 0
