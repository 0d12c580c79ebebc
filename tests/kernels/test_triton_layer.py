"""EinsumLinear with the Triton kernel, in the interpreter or on a GPU, against the reference; and what it refuses."""

import pytest
import torch

from einsearch.errors import EinsearchError
from einsearch.layers.linear import EinsumLinear


@pytest.mark.parametrize(("structure", "d_in", "d_out"), [("btt", 16, 24), ("btt(1/4)", 31, 7), ("low-rank", 16, 12)])
def test_the_layer_computes_the_same(structure: str, d_in: int, d_out: int, device: str) -> None:
    layer = EinsumLinear(d_in, d_out, structure, device=device, generator=torch.Generator(device).manual_seed(0))
    x = torch.randn(3, 5, d_in, generator=torch.Generator(device).manual_seed(1), device=device)
    found = {}
    for name in ("reference", "triton"):
        layer.implementation = name
        leaf = x.clone().requires_grad_()
        y = layer(leaf)
        y.square().sum().backward()
        found[name] = {"y": y.detach(), "x": leaf.grad} | {n: p.grad for n, p in layer.named_parameters()}
        layer.zero_grad()
    for name, value in found["reference"].items():
        torch.testing.assert_close(found["triton"][name], value, rtol=1e-3, atol=1e-4, msg=name)


def test_what_is_no_block_tensor_train_is_refused(device: str) -> None:
    layer = EinsumLinear(16, 16, "kronecker", implementation="triton", device=device)
    message = r"^implementation triton cannot run: the btt kernels compute Block Tensor-Trains of two factors, not .*"
    with pytest.raises(EinsearchError, match=message):
        layer(torch.randn(2, 16, device=device))


def test_a_dtype_without_a_kernel_is_refused(device: str) -> None:
    layer = EinsumLinear(16, 16, "btt", implementation="triton", dtype=torch.float64, device=device)
    with pytest.raises(EinsearchError, match="the btt kernel takes bfloat16, float16, float32, not float64"):
        layer(torch.randn(2, 16, dtype=torch.float64, device=device))
