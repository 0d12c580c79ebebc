"""Converted models in files: which layers are einsums (JSON), and all weights (safetensors); nothing is unpickled.

A converted model is rebuilt from a fresh dense one: :func:`convert_like` replaces the same layers by the
same structures, :func:`load_converted` puts the weights in as well.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import einsearch
from einsearch.errors import EinsearchError
from einsearch.files import replace_file
from einsearch.layers.conversion import Conversion
from einsearch.layers.convert import replace_layer
from einsearch.layers.convertible import dense_layers
from einsearch.layers.linear import EinsumLinear
from einsearch.space.operator import Operator

DESCRIPTION = "einsearch.json"
WEIGHTS = "einsearch.safetensors"

_FORMAT, _VERSION = "einsearch converted model", 1
_OF_TRANSFORMERS = ("model.safetensors.index.json", "model.safetensors")
_NAMES_SHOWN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerRecord:
    """What it takes to make an EinsumLinear again, apart from its weights. sizes: of the einsum's letters."""

    names: tuple[str, ...]
    in_features: int
    out_features: int
    einsum: str
    sizes: dict[str, int]
    bias: bool
    normalize: bool
    gain: bool
    zero: bool
    implementation: str

    @classmethod
    def of(cls, names: tuple[str, ...], layer: EinsumLinear) -> LayerRecord:
        return cls(
            names=names,
            in_features=layer.in_features,
            out_features=layer.out_features,
            einsum=str(layer.operator.einsum),
            sizes=sizes_by_letter(layer.operator),
            bias=layer.bias is not None,
            normalize=layer.normalize,
            gain=layer.gain is not None,
            zero=layer.zero,
            implementation=layer.implementation,
        )

    def layer(self, device: torch.device, dtype: torch.dtype) -> EinsumLinear:
        """A fresh layer of this description; EinsearchError where this version gives it other sizes."""
        layer = EinsumLinear(
            self.in_features,
            self.out_features,
            self.einsum,
            self.bias,
            normalize=self.normalize,
            gain=self.gain,
            zero=self.zero,
            implementation=self.implementation,
            device=device,
            dtype=dtype,
        )
        if (found := sizes_by_letter(layer.operator)) != self.sizes:
            raise EinsearchError(
                f"layer {self.names[0]} was saved with sizes {self.sizes}, and einsearch {einsearch.__version__} gives "
                f"{self.einsum} the sizes {found}; load it with the version that saved it"
            )
        return layer


def save_converted(model: nn.Module, folder: str | Path, *, weights: bool = True) -> Path:
    """Write a converted model's description, and its weights, to a folder; returns the folder.

    weights: False where another library writes them there, as `save_pretrained` of Hugging Face
    transformers does. Files are replaced whole or not at all.

    Raises EinsearchError for a model without einsum layers, a folder that cannot be written.
    """
    folder = Path(folder)
    names: dict[EinsumLinear, list[str]] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        if isinstance(module, EinsumLinear):
            names.setdefault(module, []).append(name)
    if not names:
        raise EinsearchError(f"{type(model).__name__} has no einsum layer to describe; convert it first")
    records = [LayerRecord.of(tuple(held), layer) for layer, held in names.items()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EinsearchError(f"cannot make folder {folder}: {error.strerror}; give another path") from error
    if weights:
        write_tensors(folder / WEIGHTS, _state(model))
    described = {
        "format": _FORMAT,
        "version": _VERSION,
        "einsearch": einsearch.__version__,
        "weights": WEIGHTS if weights else None,
        "layers": [asdict(record) for record in records],
    }
    replace_file(folder / DESCRIPTION, json.dumps(described, indent=1) + "\n", "description of the layers")
    return folder


def convert_like(model: nn.Module, folder: str | Path) -> Conversion:
    """Replace the layers of a fresh dense model by the structures described in a folder, in place.

    The layers start at random: load a state dict afterwards, or use :func:`load_converted`. Raises
    EinsearchError, the model unchanged, where there is no description or the model does not fit it.
    """
    records, _ = _read(Path(folder))
    layers = {name: layer for layer in dense_layers(model) for name in layer.names}
    made = []
    for record in records:
        name = record.names[0]
        dense = layers.get(name)
        if dense is None:
            raise EinsearchError(
                f"{folder} describes layer {name}, and the model has no linear layer of that name; give the model that "
                "was converted, fresh"
            )
        if problem := dense.unfit or dense.altered:
            raise EinsearchError(f"layer {name} cannot be converted: {problem}")
        here = _described(dense.d_in, dense.d_out, dense.names, dense.bias is not None)
        there = _described(record.in_features, record.out_features, record.names, record.bias)
        if here != there:
            raise EinsearchError(
                f"layer {name} is {here} in the model and {there} in {folder}; give the model that was converted, fresh"
            )
        made.append((dense, record.layer(dense.matrix.device, dense.matrix.dtype)))
    return Conversion(replaced=tuple(replace_layer(model, *each) for each in made), skipped=())


def load_converted(model: nn.Module, folder: str | Path) -> Conversion:
    """:func:`convert_like`, then all weights of the model, from those that :func:`save_converted` or
    `save_pretrained` wrote to the folder.

    Raises EinsearchError, also where the weights do not fit the model; it is converted by then.
    """
    folder = Path(folder)
    _, own = _read(folder)
    conversion = convert_like(model, folder)
    _load_state(model, dict(_tensors(folder, own)), folder)
    return conversion


def sizes_by_letter(operator: Operator) -> dict[str, int]:
    """Integer sizes of an operator's indices, by their letters in the einsum string."""
    letter = operator.einsum.structure.letters()
    return {letter[index]: n for index, n in operator.sizes.of}


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write a safetensors file, whole or not at all. EinsearchError where that is not possible."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        try:
            save_file(dict(tensors), beside, metadata={"format": "pt"})
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
    except (OSError, SafetensorError) as error:
        raise EinsearchError(f"cannot write the weights to {path}: {error}; give another path") from error


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file. EinsearchError where it is missing or damaged."""
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise EinsearchError(f"the weights {path} cannot be read: {error}") from None


def read_json(path: Path, format: str, version: int) -> dict[str, Any]:
    """A description that this package wrote. EinsearchError where it is missing, damaged, another's or newer."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EinsearchError(f"{path} cannot be read: {error}") from None
    if not isinstance(data, dict) or data.get("format") != format:
        raise EinsearchError(f"{path} is no description of an {format}; give the folder that holds one")
    if not isinstance(data.get("version"), int) or data["version"] > version:
        raise EinsearchError(
            f"{path} has version {data.get('version')}, this einsearch reads up to {version}; install a newer one"
        )
    return data


def _read(folder: Path) -> tuple[list[LayerRecord], str | None]:
    """The layers of a description, and the name of the weights beside it, if they are its own."""
    path = folder / DESCRIPTION
    data = read_json(path, _FORMAT, _VERSION)
    try:
        return [LayerRecord(**layer | {"names": tuple(layer["names"])}) for layer in data["layers"]], data["weights"]
    except (KeyError, TypeError) as error:
        raise EinsearchError(f"{path} is damaged: {error}; save the model again") from None


def _described(d_in: int, d_out: int, names: tuple[str, ...], bias: bool) -> str:
    called = f", called {' and '.join(sorted(names))}" if len(names) > 1 else ""
    return f"{d_in} to {d_out} {'with' if bias else 'without'} bias{called}"


def _state(model: nn.Module) -> dict[str, Tensor]:
    """The tensors of a state dict, each once, none a view."""
    state: dict[str, Tensor] = {}
    seen = set()
    for name, value in model.state_dict().items():
        if not isinstance(value, Tensor) or value.is_meta:
            raise EinsearchError(
                f"{name} is not a tensor with values, so it cannot be saved; save the weights yourself"
            )
        if (place := _place(value)) not in seen:
            seen.add(place)
            own = value.untyped_storage().nbytes() == value.nbytes and value.is_contiguous()
            state[name] = value if own else value.contiguous().clone()
    return state


def _place(tensor: Tensor) -> tuple[object, ...]:
    """Equal for two tensors iff they are the same numbers in memory."""
    return tensor.data_ptr(), tensor.dtype, tuple(tensor.shape), tensor.stride(), tensor.device


def _tensors(folder: Path, own: str | None) -> Iterator[tuple[str, Tensor]]:
    if own is not None:
        yield from read_tensors(folder / own).items()
        return
    index, single = (folder / name for name in _OF_TRANSFORMERS)
    if index.exists():
        try:
            shards = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        except (OSError, ValueError, KeyError, AttributeError) as error:
            raise EinsearchError(f"{index} cannot be read: {error}") from None
        for shard in sorted(shards):
            yield from read_tensors(folder / shard).items()
    elif single.exists():
        yield from read_tensors(single).items()
    else:
        raise EinsearchError(
            f"{folder} has no weights ({WEIGHTS} or model.safetensors); save them there, or convert_like"
        )


@torch.no_grad()
def _load_state(model: nn.Module, tensors: Mapping[str, Tensor], folder: Path) -> None:
    state = {name: value for name, value in model.state_dict().items() if isinstance(value, Tensor)}
    if meta := [name for name, value in state.items() if value.is_meta]:
        raise EinsearchError(f"{meta[0]} is on the meta device, which holds no values; make the model on a real one")
    if unknown := sorted(tensors.keys() - state.keys()):
        raise EinsearchError(f"{folder} has weights that the model has not: {_some(unknown)}")
    loaded = {_place(state[name]) for name in tensors}
    if missing := [name for name, value in state.items() if name not in tensors and _place(value) not in loaded]:
        raise EinsearchError(f"{folder} lacks weights of the model: {_some(missing)}")
    for name, value in tensors.items():
        if value.shape != state[name].shape:
            shapes = [" x ".join(map(str, shape)) or "a number" for shape in (value.shape, state[name].shape)]
            raise EinsearchError(f"{name} is {shapes[0]} in {folder} and {shapes[1]} in the model")
        state[name].copy_(value)


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return ", ".join(names[:_NAMES_SHOWN]) + more
