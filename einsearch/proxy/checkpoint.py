"""Checkpoints of a trial: a folder with tensors (safetensors) and what is not a tensor (JSON).

Written under a temporary name, synced and renamed, so that a folder with the final name is whole.
Nothing is ever unpickled.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import uuid
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as serialize
from torch import Tensor, nn

from einsearch.errors import EinsearchError
from einsearch.proxy.location import Location, StorageTrouble, publish, readable

_TENSORS, _FACTS = "tensors.safetensors", "training.json"
_MOMENTS = ("exp_avg", "exp_avg_sq", "momentum_buffer")
"""What optimizers keep for every parameter: AdamW the first two, SGD with momentum the last."""


class CheckpointUnreadable(EinsearchError):
    """A checkpoint is missing or damaged: training can only begin anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingState:
    """What training needs beside tensors to continue bit for bit.

    Batches follow from the seed and the step, so the step is the whole data-order state. loss_sum and
    loss_count are the training losses since the last recorded point. seconds: spent training so far.
    implementations: of the linear layers of a block, by name, where they were chosen by measuring.
    micro_batch: sequences at a time, where memory did not hold a batch.
    """

    key: str
    seed: int
    setting: str
    step: int
    seconds: float
    loss_sum: float
    loss_count: int
    implementations: dict[str, str] = field(default_factory=dict)
    micro_batch: int | None = None


def save(place: Location, model: nn.Module, optimizer: torch.optim.Optimizer, state: TrainingState) -> None:
    """Write a checkpoint to a place, where it appears whole or not at all. OSError where the disk is full."""
    if isinstance(place, Path):
        _save(place, model, optimizer, state)
        return
    with tempfile.TemporaryDirectory(prefix="einsearch-") as scratch:
        folder = Path(scratch) / "checkpoint"
        _save(folder, model, optimizer, state)
        publish(folder, place, last=_FACTS)


def _save(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, state: TrainingState) -> None:
    tensors: dict[str, Tensor] = {f"buffer.{name}": buffer for name, buffer in model.named_buffers()}
    for name, parameter in model.named_parameters():
        tensors[f"model.{name}"] = parameter.detach()
        for moment in _moments(optimizer):
            tensors[f"{moment}.{name}"] = optimizer.state[parameter][moment]
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}.partial")
    partial.mkdir()
    try:
        # As bytes: safetensors' own writing turns a full disk into an error of its own kind.
        (partial / _TENSORS).write_bytes(serialize({n: t.contiguous().cpu() for n, t in tensors.items()}))
        (partial / _FACTS).write_text(json.dumps(asdict(state), indent=1), encoding="utf-8")
        for file in (partial / _TENSORS, partial / _FACTS):
            _sync(file)
        if folder.exists():
            # A lost segment had written it: training is deterministic, so the two are the same.
            shutil.rmtree(folder)
        os.rename(partial, folder)
        _sync(folder.parent)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def load_model(place: Location, model: nn.Module) -> TrainingState:
    """Put the checkpoint's weights into `model` and return the rest of its state.

    Raises CheckpointUnreadable where the checkpoint is missing or damaged, StorageTrouble where its storage cannot be
    asked, EinsearchError where it belongs to another model.
    """
    tensors, state = _read(place)
    held = tuple(moment for moment in _MOMENTS if any(name.startswith(f"{moment}.") for name in tensors))
    _put(tensors, place, model, held)
    return state


def load(place: Location, model: nn.Module, optimizer: torch.optim.Optimizer) -> TrainingState:
    """As :func:`load_model`, with the optimizer's moments."""
    tensors, state = _read(place)
    names = _moments(optimizer)
    _put(tensors, place, model, names)
    for name, parameter in model.named_parameters():
        kept = {moment: tensors[f"{moment}.{name}"].to(parameter.device) for moment in names}
        if not isinstance(optimizer, torch.optim.SGD):
            # Fused AdamW keeps its step on the device of the parameter.
            kept["step"] = torch.tensor(float(state.step), device=parameter.device)
        optimizer.state[parameter] = kept
    return state


def _moments(optimizer: torch.optim.Optimizer) -> tuple[str, ...]:
    """Those that an optimizer keeps."""
    if isinstance(optimizer, torch.optim.SGD):
        return _MOMENTS[2:] if optimizer.defaults["momentum"] else ()
    return _MOMENTS[:2]


@torch.no_grad()
def _put(tensors: dict[str, Tensor], place: Location, model: nn.Module, moments: tuple[str, ...]) -> None:
    """The weights into the model, where the tensors are those of it and these moments, no more and no less."""
    wanted = {
        f"{part}.{name}": tuple(parameter.shape)
        for part in ("model", *moments)
        for name, parameter in model.named_parameters()
    } | {f"buffer.{name}": tuple(buffer.shape) for name, buffer in model.named_buffers()}
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    for name in sorted(wanted.keys() | found.keys()):
        if wanted.get(name) != found.get(name):
            raise EinsearchError(
                f"checkpoint {place} does not fit the model: {name} is {found.get(name, 'missing')} in the "
                f"checkpoint and {wanted.get(name, 'missing')} in the model; train again from the start"
            )
    for name, parameter in model.named_parameters():
        parameter.copy_(tensors[f"model.{name}"])
    for name, buffer in model.named_buffers():
        buffer.copy_(tensors[f"buffer.{name}"])


def _read(place: Location) -> tuple[dict[str, Tensor], TrainingState]:
    try:
        with readable(place) as folder:
            facts = json.loads((folder / _FACTS).read_text(encoding="utf-8"))
            return load_file(folder / _TENSORS), TrainingState(**facts)
    except StorageTrouble:
        raise
    except (OSError, ValueError, TypeError, SafetensorError) as error:
        raise CheckpointUnreadable(f"checkpoint {place} cannot be read: {error}") from None


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
