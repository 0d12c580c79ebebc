"""A converted model under what people do with models: compile, autocast, copies, files, processes, checkpoints."""

import copy
import itertools
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from einsearch.errors import EinsearchError
from einsearch.layers.convert import convert
from einsearch.layers.export import load_converted, save_converted

STRUCTURES = {
    "0": "btt(1/4)",
    "2": "low-rank",
    "4": "kronecker",
    "6": "abc,adr,berp,cfp->def; a=1/3, b=1/3, c=1/3, d=1/3, e=1/3, f=1/3, r=1/6, p=1/6",
}


def dense_model() -> nn.Sequential:
    """Layers of four structures, the third padded, and a dense one."""
    sizes = (16, 36, 31, 24, 27)
    layers = [layer for pair in itertools.pairwise(sizes) for layer in (nn.Linear(*pair), nn.GELU())]
    return nn.Sequential(*layers, nn.Linear(27, 4))


def converted() -> nn.Sequential:
    torch.manual_seed(0)
    model = dense_model()
    convert(model, STRUCTURES)
    return model


def run(model: nn.Module, x: Tensor, call: object = None) -> dict[str, Tensor]:
    """The output and all gradients, by name."""
    model.zero_grad()
    leaf = x.clone().requires_grad_()
    y = (call or model)(leaf)  # type: ignore[operator]
    (y.float() * torch.linspace(-1, 1, y.numel()).reshape(y.shape)).sum().backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    assert len(gradients) == len(list(model.parameters()))
    assert leaf.grad is not None
    return {"y": y.detach(), "x": leaf.grad, **gradients}


def assert_same(found: dict[str, Tensor], expected: dict[str, Tensor], tolerance: float = 1e-5) -> None:
    """Every tensor by name, relative to its largest entry."""
    assert found.keys() == expected.keys()
    for name, wanted in expected.items():
        error = (found[name].float() - wanted.float()).abs().max()
        # Not `error > bound`: a NaN must fail.
        assert error <= tolerance * max(1.0, float(wanted.abs().max())), name


def batch() -> Tensor:
    return torch.randn(3, 5, 16, generator=torch.Generator().manual_seed(1))


def test_a_wrong_gradient_is_seen() -> None:
    expected = run(converted(), batch())
    for name in expected:
        wrong = {key: value.clone() for key, value in expected.items()}
        wrong[name].view(-1)[0] += 0.01 * max(1.0, float(expected[name].abs().max()))
        with pytest.raises(AssertionError, match=name):
            assert_same(wrong, expected)


def test_compiled_without_a_break() -> None:
    model = converted()
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    assert_same(run(model, batch(), compiled), run(model, batch()))


@pytest.mark.skipif(shutil.which("g++") is None, reason="inductor needs a C++ compiler on a CPU")
@pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is deprecated:DeprecationWarning")
def test_compiled_by_inductor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Inference: gradients are traced the same way as without a compiler."""
    from torch._inductor import config

    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    model = nn.Sequential(nn.Linear(16, 16))
    convert(model, "btt(1/4)")
    with torch.no_grad(), config.patch(compile_threads=1):
        found = torch.compile(model, fullgraph=True)(batch())
        assert_same({"y": found}, {"y": model(batch())})
    torch.compiler.reset()


def test_autocast_computes_in_bfloat16_and_keeps_the_weights() -> None:
    model = converted()
    exact = run(model, batch())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = run(model, batch())
    assert found["y"].dtype == torch.bfloat16
    assert all(parameter.dtype == torch.float32 for parameter in model.parameters())
    assert all(found[name].dtype == torch.float32 for name in found if name != "y")
    assert_same(found, exact, tolerance=0.1)


def test_a_state_dict_goes_into_a_model_converted_likewise() -> None:
    model, other = converted(), dense_model()
    convert(other, STRUCTURES)
    assert other.load_state_dict(model.state_dict()).missing_keys == []
    assert torch.equal(other(batch()), model(batch()))
    with pytest.raises(RuntimeError, match=r"Missing key.*0\.weight"):
        dense_model().load_state_dict(model.state_dict())


def test_a_deep_copy_is_another_model() -> None:
    model = converted()
    other = copy.deepcopy(model)
    assert torch.equal(other(batch()), model(batch()))
    optimizer = torch.optim.SGD(other.parameters(), lr=0.1)
    before = model(batch()).detach()
    run(other, batch())
    optimizer.step()
    assert torch.equal(model(batch()), before)
    assert not torch.equal(other(batch()), before)


def test_files_without_pickle(tmp_path: Path) -> None:
    model, other = converted(), dense_model()
    save_converted(model, tmp_path / "saved")
    load_converted(other, tmp_path / "saved")
    assert torch.equal(other(batch()), model(batch()))
    torch.save(model.state_dict(), tmp_path / "state.pt")
    again = converted()
    nn.init.zeros_(again[0].bias)
    again.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert torch.equal(again(batch()), model(batch()))


def test_activation_checkpointing_gives_the_same_gradients() -> None:
    model = converted()

    def call(x: Tensor) -> Tensor:
        y = checkpoint(model[:4], x, use_reentrant=False)
        return checkpoint(model[4:], y, use_reentrant=False)

    assert_same(run(model, batch(), call), run(model, batch()), tolerance=0.0)


SECOND = """
import sys
import torch
from tests.layers.test_torch_features import rank_of_two

torch.set_num_threads(1)
rank_of_two(sys.argv[1], 1)
"""


def rank_of_two(folder: str, rank: int) -> tuple[nn.Module, str]:
    """One of two processes that compute half of a batch each; the model, and what converting it then says."""
    meeting = f"file://{folder}/meeting"
    torch.distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=2)
    try:
        torch.manual_seed(rank)  # DDP has to bring both to the weights of rank 0
        model = dense_model()
        convert(model, STRUCTURES)
        wrapped = nn.parallel.DistributedDataParallel(model)
        wrapped(rows()[4 * rank : 4 * rank + 4]).square().mean().backward()
        torch.save({name: p.grad for name, p in model.named_parameters()}, f"{folder}/gradients-{rank}")
        with pytest.raises(EinsearchError) as refused:
            convert(wrapped, "btt")
        return model, str(refused.value)
    finally:
        torch.distributed.destroy_process_group()


def rows() -> Tensor:
    return torch.randn(8, 16, generator=torch.Generator().manual_seed(1))


def test_two_processes_have_the_gradients_of_one(tmp_path: Path) -> None:
    """This process is the first of the two."""
    command = [sys.executable, "-c", SECOND, str(tmp_path)]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, cwd=root, stderr=subprocess.PIPE, text=True) as second:
        model, message = rank_of_two(str(tmp_path), 0)
        _, err = second.communicate(timeout=120)
    assert second.returncode == 0, err
    assert message == "the model is wrapped in DistributedDataParallel; convert it first, then wrap it"
    alone = copy.deepcopy(model)
    alone.zero_grad()
    alone(rows()).square().mean().backward()
    expected = {name: p.grad for name, p in alone.named_parameters() if p.grad is not None}
    for rank in range(2):
        found = torch.load(tmp_path / f"gradients-{rank}", weights_only=True)
        assert_same(found, expected)
