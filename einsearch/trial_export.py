"""A trial of a study as a folder of its own: description, trained weights, usage; and back to a model."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as serialize

import einsearch
from einsearch.errors import EinsearchError
from einsearch.layers.experts import EinsumExperts
from einsearch.layers.export import read_json, read_tensors, sizes_by_letter
from einsearch.layers.linear import EinsumLinear
from einsearch.layers.parametrize import learning_rate_multipliers
from einsearch.proxy import checkpoint
from einsearch.proxy.gpt2 import ProxyGPT2, linears_of
from einsearch.proxy.location import StorageTrouble, is_there, parse_location
from einsearch.proxy.protocol import Protocol, Setting
from einsearch.search.study import RUNS, default_store_url
from einsearch.space.candidate import Candidate
from einsearch.store import Point, Store, StudyRow, TrialRow
from einsearch.trial_text import example_text, readme_text

DESCRIPTION, WEIGHTS, README, EXAMPLE = "description.json", "weights.safetensors", "README.md", "example.py"

_FORMAT, _VERSION = "einsearch trial", 1


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundTrial:
    """A trial with its study and its curve."""

    study: StudyRow
    trial: TrialRow
    points: tuple[Point, ...]

    @property
    def candidate(self) -> Candidate:
        return Candidate.from_json(self.trial.candidate)

    @property
    def setting(self) -> Setting:
        return Setting.from_json(self.study.protocol)


def find_trial(
    key: str,
    *,
    study: str | None = None,
    seed: int | None = None,
    store: str | None = None,
    runs: str | Path | None = None,
) -> FoundTrial:
    """The trial whose key begins so, in a study, by default the latest of the store.

    Raises EinsearchError where there is no such store, study or trial, or several trials.
    """
    with Store.open(store or default_store_url(Path(runs or RUNS)), create=False) as opened:
        if study is None:
            studies = opened.studies()
            if not studies:
                raise EinsearchError(f"there is no study in {opened.url} yet; begin one with `einsearch run`")
            row = studies[-1]
        else:
            row = opened.study(study)
        trial = opened.trial(row.id, key, seed=seed)
        return FoundTrial(study=row, trial=trial, points=tuple(opened.points(row.id).get(trial.id, ())))


def export_trial(
    key: str,
    folder: str | Path,
    *,
    study: str | None = None,
    seed: int | None = None,
    store: str | None = None,
    runs: str | Path | None = None,
) -> Path:
    """Write a trial to a folder, which appears whole or not at all, and return the folder.

    It holds description.json (structures, integer sizes, init std and learning-rate multipliers of every
    layer, taxonomy, how it was trained and what it reached), weights.safetensors, README.md and example.py.
    An export that is there already is replaced.

    Raises EinsearchError as :func:`find_trial`, for a trial without a checkpoint, and for a folder that holds
    anything but an export.
    """
    folder = Path(folder)
    _require_free(folder)
    found = find_trial(key, study=study, seed=seed, store=store, runs=runs)
    write_export(found, _trained(found, Path(runs or RUNS)), folder)
    return folder


def write_export(found: FoundTrial, model: ProxyGPT2, folder: Path) -> None:
    """Write a trial and its model to a folder; :func:`export_trial` without the search for them."""
    described = describe(found, model)
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    _write_folder(
        folder,
        {
            DESCRIPTION: (json.dumps(described, indent=1, ensure_ascii=False) + "\n").encode(),
            WEIGHTS: serialize(state, metadata={"format": "pt"}),
            README: readme_text(described).encode(),
            EXAMPLE: example_text(described).encode(),
        },
    )


def load_exported(folder: str | Path) -> ProxyGPT2:
    """The model of an exported trial with its trained weights, on the CPU, in evaluation mode.

    Its linear layers are `model.blocks[n].q` and k, v, o, up, down; `model.candidate` has the structures.
    Raises EinsearchError where the folder is no export, or does not fit this version.
    """
    folder = Path(folder)
    data = read_json(folder / DESCRIPTION, _FORMAT, _VERSION)
    try:
        candidate, protocol = Candidate.from_json(data["candidate"]), Protocol(**data["protocol"])
        model = ProxyGPT2(candidate, protocol, data["provenance"]["seed"])
    except (KeyError, TypeError) as error:
        raise EinsearchError(f"{folder / DESCRIPTION} is damaged: {error}; export the trial again") from None
    tensors = read_tensors(folder / WEIGHTS)
    state = model.state_dict()
    for name in sorted(tensors.keys() | state.keys()):
        there, here = (tuple(held[name].shape) if name in held else "missing" for held in (tensors, state))
        if there != here:
            raise EinsearchError(
                f"export {folder} of einsearch {data['provenance'].get('einsearch')} does not fit einsearch "
                f"{einsearch.__version__}: {name} is {there} there and {here} here; use the version that made it"
            )
    model.load_state_dict(tensors)
    return model.eval()


def describe(found: FoundTrial, model: ProxyGPT2) -> dict[str, Any]:
    """What description.json says. FLOPs are of training, losses in nats a symbol."""
    trial, setting, candidate = found.trial, found.setting, found.candidate
    evaluated = [point for point in found.points if point.validation_loss is not None]
    multipliers = learning_rate_multipliers(model, model.base_fans, setting.protocol.optimizer)
    return {
        "format": _FORMAT,
        "version": _VERSION,
        "label": trial.label,
        "theta": candidate.theta,
        "structures": {name: einsum.equation() for name, einsum in candidate.by_site.items()},
        "taxonomy": trial.facts["taxonomy"],
        "candidate": trial.candidate,
        "layers": {
            name: _describe_layer(layer, name, multipliers)
            for name, layer in model.named_modules()
            if isinstance(layer, EinsumLinear | EinsumExperts)
        },
        "protocol": asdict(setting.protocol),
        "provenance": {
            "study": found.study.name,
            "trial": trial.number,
            "key": trial.key,
            "seed": trial.seed,
            "kind": trial.kind,
            "state": trial.state,
            "step": trial.step,
            "flops": trial.flops_done,
            "parameters": trial.parameters,
            "implementations": {name: layer.implementation for name, layer in linears_of(model.blocks[0])},
            "validation_loss": evaluated[-1].validation_loss if evaluated else None,
            "validation_loss_at_step": evaluated[-1].step if evaluated else None,
            "einsearch": einsearch.__version__,
            "exported_with_torch": torch.__version__,
            "setting": {name: value for name, value in setting.to_json().items() if name != "protocol"},
            "environment": trial.environment,
        },
    }


def _describe_layer(layer: EinsumLinear | EinsumExperts, name: str, multipliers: Mapping[str, float]) -> dict[str, Any]:
    """A linear layer; of a mixture one of its experts, which are alike."""
    operator = layer.operator
    return {
        "in_features": layer.in_features,
        "out_features": layer.out_features,
        "einsum": str(operator.einsum),
        "equation": operator.einsum.structure.equation(),
        "sizes": sizes_by_letter(operator),
        "experts": layer.experts if isinstance(layer, EinsumExperts) else None,
        "padded_in": operator.sizes.padded_in,
        "padded_out": operator.sizes.padded_out,
        "parameters": operator.parameters,
        "macs": operator.macs,
        "rank_bound": operator.rank_bound,
        "normalize": layer.normalize,
        "gain": layer.gain is not None,
        "starts_at_zero": layer.zero,
        "init_std": list(layer.std),
        "learning_rate_multipliers": {own: multipliers[f"{name}.{own}"] for own, _ in layer.named_parameters()},
    }


def _trained(found: FoundTrial, runs: Path) -> ProxyGPT2:
    """The trial's model with the weights of its checkpoint."""
    trial = found.trial
    who = f"trial {trial.key}, seed {trial.seed}, of study {found.study.name!r}"
    if trial.checkpoint is None:
        raise EinsearchError(f"{who} has no checkpoint: it is {trial.state} at step {trial.step}; export another")
    # The folder of runs may have been moved since: the same checkpoint lies there under the same names.
    moved = runs / found.study.name / "checkpoints" / Path(*trial.checkpoint.split("/")[-2:])
    model = ProxyGPT2(found.candidate, found.setting.protocol, trial.seed)
    try:
        place = next((each for each in (parse_location(trial.checkpoint), moved) if is_there(each)), None)
        if place is None:
            raise EinsearchError(
                f"the checkpoint of {who} is not at {trial.checkpoint} any more; train it again, or export another"
            )
        state = checkpoint.load_model(place, model)
    except StorageTrouble as error:
        raise EinsearchError(str(error)) from None
    if (state.key, state.seed) != (trial.key, trial.seed):
        raise EinsearchError(f"checkpoint {place} is of key {state.key}, seed {state.seed}, not of {who}; remove it")
    if state.implementations:
        model.use_implementations(state.implementations)
    return model


def _require_free(folder: Path) -> None:
    """The folder is not there, empty, or holds an export and nothing else."""
    try:
        held = sorted(path.name for path in folder.iterdir())
    except FileNotFoundError:
        return
    except OSError as error:
        raise EinsearchError(f"cannot export to {folder}: {error.strerror}; give another folder") from None
    foreign = [name for name in held if name not in (DESCRIPTION, WEIGHTS, README, EXAMPLE)]
    if foreign or (held and DESCRIPTION not in held):
        shown = (foreign or held)[0]
        raise EinsearchError(f"{folder} holds {shown}, so it is no export that may be replaced; give another folder")
    if held:
        read_json(folder / DESCRIPTION, _FORMAT, _VERSION)


def _write_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write beside, sync, then take the place of what was there."""
    target = folder.resolve()
    beside, before = (target.with_name(f".{target.name}.{os.getpid()}.{what}") for what in ("partial", "before"))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            beside.mkdir()
            for name, content in files.items():
                with (beside / name).open("wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
            if target.exists():
                target.rename(before)
            try:
                beside.rename(target)
            except BaseException:
                if before.exists():
                    before.rename(target)
                raise
        finally:
            shutil.rmtree(beside, ignore_errors=True)
        shutil.rmtree(before, ignore_errors=True)
    except OSError as error:
        raise EinsearchError(f"cannot export to {folder}: {error.strerror or error}; give another folder") from error
