"""What an exported trial says of itself to people: README.md and example.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def readme_text(described: Mapping[str, Any]) -> str:
    """The page that lies in an export; `described` is the content of description.json."""
    source = described["provenance"]
    taxonomy = described["taxonomy"]
    loss = source["validation_loss"]
    reached = "" if loss is None else f" It reached a validation loss of {loss:.4f} nats a symbol."
    rows = [
        "| layer | x to y | einsum | sizes | parameters | MACs a vector |",
        "|---|---|---|---|---|---|",
        *(_row(name, layer) for name, layer in described["layers"].items()),
    ]
    return f"""# {described["label"]} {described["theta"]}

Trial {source["key"]}, seed {source["seed"]}, of the study {source["study"]}: trained for {source["step"]} steps,
{source["flops"]:.4g} FLOPs, on {source["setting"]["data_name"]}.{reached}
omega = {taxonomy["omega"]:g}, psi = {taxonomy["psi"]:g}, nu = {taxonomy["nu"]:g}.

- `description.json`: everything about it: structures, sizes, init std, learning-rate multipliers, protocol, provenance
- `weights.safetensors`: the trained weights of the whole model
- `example.py`: loads it and uses it; needs einsearch (this is of version {source["einsearch"]})

```python
import einsearch

model = einsearch.load_exported("path/of/this/folder")  # logits = model(tokens)
```

{chr(10).join(rows)}
"""


def example_text(described: Mapping[str, Any]) -> str:
    """A program that loads the export it lies in, and uses it; of a mixture of experts only as a whole."""
    layers: Mapping[str, Mapping[str, Any]] = {
        n: held for n, held in described["layers"].items() if not held["experts"]
    }
    parts = [_LOAD]
    if layers:
        several = [name for name, layer in layers.items() if "," in layer["equation"].split(",", 1)[1]]
        name = several[0] if several else next(iter(layers))
        parts += [_plain_torch(name, layers[name]), _OWN.format(einsum=layers[name]["einsum"])]
    return "".join(parts)


_LOAD = '''"""Load the trial that lies beside this file, and use it."""

from pathlib import Path

import torch

import einsearch
from einsearch.proxy.vocabulary import decode, encode

model = einsearch.load_exported(Path(__file__).parent)

# The model reads printable ASCII, one symbol a character, and gives logits of the next one.
prompt = "the quick brown"[: model.protocol.context]
tokens = torch.from_numpy(encode(prompt.encode())).long()[None]
with torch.no_grad():
    best = model(tokens)[0, -1].argmax()
print(f"{prompt!r} goes on with {decode([int(best)])!r}")
'''

_OWN = """
# The same structure, not trained, as a layer of any size.
own = einsearch.EinsumLinear(768, 3072, "{einsum}")
print(own)
"""


def _plain_torch(name: str, layer: Mapping[str, Any]) -> str:
    """A layer of the model as one torch.einsum, checked against the layer."""
    terms, y = layer["equation"].split("->")
    x, *factors = terms.split(",")
    sizes = ", ".join(str(layer["sizes"][letter]) for letter in x)
    padding = layer["padded_in"] - layer["in_features"]
    padded = f"torch.nn.functional.pad(x, (0, {padding}))" if padding else "x"
    cut = f"[..., : {layer['out_features']}]" if layer["padded_out"] != layer["out_features"] else ""
    return f"""
# One of its layers in plain PyTorch: one einsum of x and its factors.
layer = model.get_submodule("{name}")
x = torch.randn(5, {layer["in_features"]})
y = torch.einsum(
    "...{x},{",".join(factors)}->...{y}", {padded}.reshape(5, {sizes}), *layer.effective_factors()
).reshape(5, {layer["padded_out"]}){cut}
torch.testing.assert_close(y, layer(x), rtol=1e-4, atol=1e-4)
print("{name}: {layer["in_features"]} to {layer["out_features"]} with {layer["parameters"]} parameters")
"""


def _row(name: str, layer: Mapping[str, Any]) -> str:
    sizes = " ".join(f"{letter}{size}" for letter, size in layer["sizes"].items())
    experts = f"{layer['experts']} x " if layer["experts"] else ""
    return (
        f"| {name} | {layer['in_features']} to {layer['out_features']} | `{layer['equation']}` | {sizes} "
        f"| {experts}{layer['parameters']:,} | {layer['macs']:,} |"
    )
