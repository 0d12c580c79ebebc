"""EinsumMoE with the Triton kernel, in the interpreter or on a GPU, against the reference; and what it refuses."""

import pytest
import torch

from einsearch.errors import EinsearchError
from einsearch.layers.moe import EinsumMoE, ExpertFFN
from einsearch.layers.router import Router
from einsearch.space.mixture import Mixture


def router(d: int, device: str) -> Router:
    return Router.of(Mixture(experts=3, active=2), d).to(device)


@pytest.mark.parametrize(("structure", "d_in", "d_out"), [("btt", 16, 24), ("btt(1/4)", 31, 7), ("low-rank", 16, 12)])
def test_the_layer_computes_the_same(structure: str, d_in: int, d_out: int, device: str) -> None:
    layer = EinsumMoE(d_in, d_out, structure, 3, device=device, generator=torch.Generator(device).manual_seed(0))
    x = torch.randn(3, 5, d_in, generator=torch.Generator(device).manual_seed(1), device=device)
    routing = router(d_in, device)(x)
    found = {}
    for name in ("reference", "triton"):
        layer.implementation = name
        leaf, gate = (each.detach().clone().requires_grad_() for each in (x, routing.gate))
        y = layer(leaf, routing._replace(gate=gate))
        y.square().sum().backward()
        found[name] = {"y": y.detach(), "x": leaf.grad, "gate": gate.grad}
        found[name] |= {n: p.grad for n, p in layer.named_parameters()}
        layer.zero_grad()
    assert found["triton"].keys() == {"y", "x", "gate", *dict(layer.named_parameters())}
    for name, value in found["reference"].items():
        assert value is not None
        torch.testing.assert_close(found["triton"][name], value, rtol=1e-3, atol=1e-4, msg=name)


def test_what_is_no_block_tensor_train_is_refused(device: str) -> None:
    layer = EinsumMoE(16, 16, "kronecker", 3, implementation="triton", device=device)
    x = torch.randn(2, 16, device=device)
    message = r"^implementation triton cannot run: the btt kernels compute Block Tensor-Trains of two factors, not .*"
    with pytest.raises(EinsearchError, match=message):
        layer(x, router(16, device)(x))


def test_experts_that_are_ffns_are_refused(device: str) -> None:
    layer = ExpertFFN(16, 32, "btt", "btt", 3, implementation="triton", device=device)
    x = torch.randn(2, 16, device=device)
    message = "^implementation triton computes single layers, not experts that are FFNs; use auto, reference, "
    with pytest.raises(EinsearchError, match=message):
        layer(x, router(16, device)(x))
