"""The kernels compile for GPUs that are not here, and take no more of them than there is."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton")

SHARED_MEMORY = {80: 163 * 1024, 90: 227 * 1024}
SPILLED = 160
"""Bytes that a thread may keep in memory for want of registers. More would be a tile that is too large."""

WIDTHS = [(16, 16, 16, 16, 1), (16, 32, 32, 16, 1), (32, 32, 32, 32, 1), (32, 64, 64, 32, 1), (64, 64, 64, 64, 1)]


def compiled(folder: Path, *arguments: object) -> list[dict[str, object]]:
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    command = [sys.executable, "-m", "tests.kernels.btt_moe.ahead_of_time", *map(str, arguments)]
    root = Path(__file__).parents[3]
    done = subprocess.run(
        command,
        cwd=root,
        env=environment | {"TRITON_CACHE_DIR": str(folder)},
        capture_output=True,
        text=True,
        check=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def check(found: list[dict[str, object]], capability: int) -> None:
    for kernel in found:
        assert kernel["shared"] <= SHARED_MEMORY[capability], kernel
        assert kernel["spilled"] <= SPILLED, kernel
        assert kernel["narrow_shared_accesses"] == 0, kernel
        if not kernel["kernel"].startswith("sum"):
            assert kernel["tensor_core_products"] > 0, kernel


def test_the_product_compiles(tmp_path: Path) -> None:
    found = compiled(tmp_path, 90, "bfloat16", 32, 32, 32, 32, 1, "fused_product")
    assert [kernel["kernel"] for kernel in found] == ["fused_product"] * 2
    check(found, 90)


@pytest.mark.slow
@pytest.mark.parametrize("capability", [80, 90])
@pytest.mark.parametrize("sizes", WIDTHS)
def test_all_kernels_compile(capability: int, sizes: tuple[int, ...], tmp_path: Path) -> None:
    found = compiled(tmp_path, capability, "bfloat16", *sizes)
    assert len(found) >= 8
    check(found, capability)
