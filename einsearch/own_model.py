"""Structures in a model of one's own, also those that a study found: `einsearch.convert`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import nn

from einsearch.errors import EinsearchError
from einsearch.layers.conversion import Conversion
from einsearch.layers.convert import StructureLike, Where
from einsearch.layers.convert import convert as convert_layers
from einsearch.space.candidate import Candidate
from einsearch.space.einsum import Einsum

_KEY = re.compile(r"(?P<key>[0-9a-f]{1,12})(?::(?P<site>\w+))?")


def convert(
    model: nn.Module,
    structure: StructureLike | Mapping[str, StructureLike],
    where: Where | None = None,
    *,
    exclude: str | Sequence[str] = (),
    zero: str | Sequence[str] = (),
    project: bool = False,
    normalize: bool | None = None,
    gain: bool = True,
    implementation: str = "auto",
    generator: torch.Generator | None = None,
    study: str | None = None,
    seed: int | None = None,
    store: str | None = None,
    runs: str | Path | None = None,
) -> Conversion:
    """Replace linear layers of a model by `EinsumLinear`, in place, and say what was done.

    structure: a family's name, a theta, an einsum string, an Einsum, or the key of a study's trial (or the
    beginning of one): the structure that it trained. Where its layers differ, `KEY:q` is that of one of
    them (q k v o up down, attention, ffn). Or a mapping from pattern of names to structure.

    study, seed, store, runs: where keys are looked up, as in `einsearch show`: by default the latest study of
    the store in `runs`. All else is said at :func:`einsearch.layers.convert.convert`.

    >>> model = nn.Sequential(nn.Linear(64, 256), nn.GELU(), nn.Linear(256, 64))
    >>> conversion = convert(model, "btt")
    >>> conversion.macs_before, conversion.macs
    (32768, 6144)

    Raises EinsearchError as :func:`einsearch.layers.convert.convert` does, and for a key that is not there,
    of several structures without a site, or of a mixture of experts.
    """
    asked = {"study": study, "seed": seed, "store": store, "runs": runs}
    given = structure.values() if isinstance(structure, Mapping) else [structure]
    if not any(map(_is_key, given)) and (unused := [name for name, value in asked.items() if value is not None]):
        raise EinsearchError(
            f"{unused[0]} says where a trial's key is looked up, but no structure is a key; leave it out"
        )

    def resolved(one: StructureLike) -> StructureLike:
        return _of_trial(str(one), study, seed, store, runs) if _is_key(one) else one

    if isinstance(structure, Mapping):
        found: StructureLike | Mapping[str, StructureLike] = {name: resolved(one) for name, one in structure.items()}
    else:
        found = resolved(structure)
    return convert_layers(
        model,
        found,
        where,
        exclude=exclude,
        zero=zero,
        project=project,
        normalize=normalize,
        gain=gain,
        implementation=implementation,
        generator=generator,
    )


def _is_key(structure: StructureLike) -> bool:
    """Whether it is written as a key: no name of a family consists of hexadecimal digits alone."""
    return isinstance(structure, str) and _KEY.fullmatch(structure.strip()) is not None


def _of_trial(text: str, study: str | None, seed: int | None, store: str | None, runs: str | Path | None) -> Einsum:
    from einsearch.trial_export import find_trial

    match = _KEY.fullmatch(text.strip())
    assert match is not None
    try:
        found = find_trial(match["key"], study=study, seed=seed, store=store, runs=runs)
    except EinsearchError as error:
        raise EinsearchError(f"structure {text!r} is read as a trial's key: {error}") from None
    return structure_of(found.candidate, match["site"], found.trial.key)


def structure_of(candidate: Candidate, site: str | None, key: str) -> Einsum:
    """The einsum of a candidate's layers, or of those of one site. EinsearchError where they have several."""
    if candidate.mixture is not None:
        raise EinsearchError(
            f"trial {key} is a mixture of experts ({candidate.label}), which is no single einsum; give the structure "
            f"of its experts, {candidate.theta}"
        )
    layers = candidate.by_layer
    sites = {**{name: (name,) for name in layers}, "attention": ("q", "k", "v", "o"), "ffn": ("up", "down")}
    if site is not None and site not in sites:
        raise EinsearchError(f"trial {key} has no site {site!r}; its sites: {', '.join(sites)}")
    held = {layers[name] for name in (sites[site] if site else layers)}
    if len(held) > 1:
        shown = "; ".join(f"{name} {einsum}" for name, einsum in candidate.by_site.items())
        example = f"{{'*.mlp.*': '{key}:up', '*.attn.*': '{key}:q'}}"
        raise EinsearchError(f"trial {key} has several structures ({shown}); map patterns to them, as {example}")
    return held.pop()
