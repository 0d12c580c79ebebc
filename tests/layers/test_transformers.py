"""Models of Hugging Face transformers, small and randomly initialised: converted, trained, asked, saved, loaded."""

from __future__ import annotations

import copy
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

os.environ["HF_HUB_OFFLINE"] = "1"  # read when transformers is imported

transformers = pytest.importorskip("transformers", reason="needs the extra: pip install 'einsearch[hf]'")

from einsearch.errors import EinsearchError  # noqa: E402
from einsearch.layers.convert import convert  # noqa: E402
from einsearch.layers.export import convert_like, load_converted, save_converted  # noqa: E402
from einsearch.layers.linear import EinsumLinear  # noqa: E402
from einsearch.layers.parametrize import param_groups  # noqa: E402

SPECIAL = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 0}


def gpt2() -> Any:
    torch.manual_seed(0)
    still = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}  # no dropout: outputs are compared
    sizes = {"vocab_size": 64, "n_positions": 32, "n_embd": 32, "n_layer": 2, "n_head": 2}
    config = transformers.GPT2Config(**sizes, **still, **SPECIAL)
    return transformers.GPT2LMHeadModel(config)


def llama() -> Any:
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=64,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=32,
        **SPECIAL,
    )
    return transformers.LlamaForCausalLM(config)


MODELS = {"gpt2": gpt2, "llama": llama}
LAYERS = {
    "gpt2": ["attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"],
    "llama": [f"self_attn.{name}_proj" for name in "qkvo"] + [f"mlp.{name}_proj" for name in ("gate", "up", "down")],
}
PREFIX = {"gpt2": "transformer.h", "llama": "model.layers"}


@pytest.fixture(params=MODELS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def tokens() -> torch.Tensor:
    return torch.randint(2, 64, (4, 16), generator=torch.Generator().manual_seed(1))


def einsums(model: torch.nn.Module) -> list[str]:
    return [name for name, module in model.named_modules() if isinstance(module, EinsumLinear)]


def test_the_layers_of_the_blocks_are_replaced_and_the_rest_works(name: str) -> None:
    model = MODELS[name]()
    shapes = {n: tuple(p.shape) for n, p in model.named_parameters()}
    conversion = convert(model, "btt")
    expected = [f"{PREFIX[name]}.{block}.{layer}" for block in range(2) for layer in LAYERS[name]]
    assert einsums(model) == [layer.name for layer in conversion.replaced] == expected
    assert [layer.name for layer in conversion.skipped] == ["lm_head"]
    for layer in conversion.replaced:
        shape = shapes[f"{layer.name}.weight"]
        assert (layer.d_in, layer.d_out) == (shape if name == "gpt2" else shape[::-1])
    answer = model(tokens(), labels=tokens())
    answer.loss.backward()
    assert answer.logits.shape == (4, 16, 64)
    for parameter_name, parameter in model.named_parameters():
        assert parameter.grad is not None, parameter_name


def test_the_head_stays_tied_to_the_embedding() -> None:
    model = gpt2()
    conversion = convert(model, "btt", "*")
    assert [s.reason for s in conversion.skipped] == ["its weight is tied to transformer.wte.weight"]
    assert model.lm_head.weight is model.transformer.wte.weight
    with pytest.raises(EinsearchError, match=r"^layer lm_head cannot be converted: its weight is tied"):
        convert(gpt2(), "btt", "lm_head")


def test_it_learns(name: str) -> None:
    model = MODELS[name]()
    convert(model, "btt", zero="*.c_proj" if name == "gpt2" else ["*.o_proj", "*.down_proj"])
    optimizer = torch.optim.AdamW(param_groups(model, lr=1e-2))
    losses = []
    for _ in range(8):
        loss = model(tokens(), labels=tokens()).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]


def test_a_projection_with_enough_rank_is_the_same_model(name: str) -> None:
    """Low rank at full rank: also what shows that Conv1D's weight is read the right way round."""
    model = MODELS[name]().double()
    dense = copy.deepcopy(model)
    conversion = convert(model, "low-rank(1)", project=True)
    assert all(layer.relative_error < 1e-12 for layer in conversion.replaced)
    assert torch.allclose(model(tokens()).logits, dense(tokens()).logits)
    rough = copy.deepcopy(dense)
    assert all(0.1 < layer.relative_error < 1 for layer in convert(rough, "low-rank", project=True).replaced)
    assert not torch.allclose(rough(tokens()).logits, dense(tokens()).logits)


def generate(model: Any) -> torch.Tensor:
    model.eval()
    found: torch.Tensor = model.generate(tokens()[:1], max_new_tokens=6, do_sample=False)
    return found


@pytest.mark.parametrize("shards", ["1GB", "20KB"])
def test_saved_by_transformers_and_loaded(name: str, shards: str, tmp_path: Path) -> None:
    model = MODELS[name]()
    convert(model, {"*mlp*": "btt(1/4)", "*attn*": "kronecker"})
    model.save_pretrained(tmp_path, max_shard_size=shards)
    save_converted(model, tmp_path, weights=False)
    assert len(list(tmp_path.glob("*.safetensors"))) > 1 or shards == "1GB"

    config = transformers.AutoConfig.from_pretrained(tmp_path)
    again = transformers.AutoModelForCausalLM.from_config(config)
    conversion = load_converted(again, tmp_path)
    assert [layer.name for layer in conversion.replaced] == einsums(model)
    assert torch.equal(again(tokens()).logits, model(tokens()).logits)
    assert torch.equal(generate(again), generate(model))
    assert (again.lm_head.weight is again.get_input_embeddings().weight) == (name == "gpt2")


def test_a_state_dict_of_ones_own(name: str, tmp_path: Path) -> None:
    model = MODELS[name]()
    convert(model, "btt")
    save_converted(model, tmp_path, weights=False)
    torch.save(model.state_dict(), tmp_path / "state.pt")
    again = MODELS[name]()
    convert_like(again, tmp_path)
    again.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert torch.equal(again(tokens()).logits, model(tokens()).logits)


@pytest.mark.parametrize("damage", ["model", "other"])
def test_weights_that_do_not_fit(damage: str, tmp_path: Path) -> None:
    model = gpt2()
    convert(model, "btt")
    save_converted(model, tmp_path, weights=False)
    with pytest.raises(EinsearchError, match=r"has no weights \(einsearch.safetensors or model.safetensors\)"):
        load_converted(gpt2(), tmp_path)
    other = gpt2() if damage == "model" else llama()
    other.save_pretrained(tmp_path)
    with pytest.raises(EinsearchError, match=r"has weights that the model has not: .* and \d+ more$"):
        load_converted(gpt2(), tmp_path)


# Deprecated in favour of activation_checkpointing_enable; it goes in 6.
@pytest.mark.filterwarnings("ignore:.gradient_checkpointing_enable. is deprecated:FutureWarning")
def test_checkpointing_and_autocast(name: str) -> None:
    model = MODELS[name]()
    convert(model, "btt")
    model.train()
    plain = gradients(model)
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    for key, gradient in gradients(model).items():
        assert torch.allclose(gradient, plain[key], atol=1e-6), key
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert model(tokens()).logits.dtype == torch.bfloat16


def gradients(model: Any) -> dict[str, torch.Tensor]:
    model.zero_grad()
    model(tokens(), labels=tokens()).loss.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters()}


def test_every_model_of_the_table_is_converted_whole() -> None:
    """Nothing that looks like a linear layer is overlooked: only heads and embeddings keep their matrices."""
    makers: dict[str, Callable[[], Any]] = MODELS
    for make in makers.values():
        model = make()
        convert(model, "btt")
        dense = [n for n, p in model.named_parameters() if p.dim() == 2 and n.endswith("weight")]
        assert all("wte" in n or "wpe" in n or "embed" in n or "lm_head" in n for n in dense)


PAGE = Path(__file__).parents[2] / "docs" / "own-model.md"


@pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is deprecated:DeprecationWarning")
def test_every_block_of_the_page_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In their order, in one namespace; the first table is what its block prints."""
    monkeypatch.chdir(tmp_path)
    page = PAGE.read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (table,) = re.findall(r"```text\n(.*?)```", page, re.DOTALL)
    assert len(blocks) >= 6
    namespace: dict[str, Any] = {"__name__": "page"}
    for n, block in enumerate(blocks):
        exec(compile(block, f"{PAGE.name}, block {n + 1}", "exec"), namespace)
        printed = capsys.readouterr().out
        if n == 0:
            assert printed == table
