"""The guard around tensors rejects a kernel that writes outside, and lets one pass that does not."""

import pytest
import torch

from einsearch.kernels.btt_moe.launch import Launch
from tests.kernels.btt_moe.conftest import run_guarded


@pytest.mark.parametrize("place", [-1, 0, 5, 6])
def test_a_write_outside_is_found(place: int, device: str) -> None:
    triton = pytest.importorskip("triton")
    import triton.language as tl

    @triton.jit
    def write(out, place):
        tl.store(out + place, 1.0)

    out = torch.zeros(2, 3, device=device)
    launched = Launch(kernel=write, grid=(1,), arguments={"out": out, "place": place}, constants={}, warps=1)
    if 0 <= place < 6:
        run_guarded(launched)
        assert out.flatten()[place] == 1
    else:
        with pytest.raises(AssertionError, match="write writes outside out"):
            run_guarded(launched)
