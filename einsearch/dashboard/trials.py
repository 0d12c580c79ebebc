"""A candidate of the store as a trial of Optuna."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache, partial
from pathlib import Path
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from einsearch.dashboard.curve_picture import draw_curve
from einsearch.dashboard.pictures import Picture, content_id
from einsearch.dashboard.trial_note import standing, trial_note
from einsearch.dashboard.view import Note, ShownTrial, artifact_attributes
from einsearch.draw.diagram import Diagram
from einsearch.draw.picture import picture_dimension, render
from einsearch.errors import EinsearchError
from einsearch.frontier import Frontier
from einsearch.search.mirror import attributes, rung_multipliers
from einsearch.space.candidate import Candidate
from einsearch.space.einsum import Einsum
from einsearch.store import Curve, SegmentRow

_STATES = {
    "queued": TrialState.WAITING,
    "running": TrialState.RUNNING,
    "complete": TrialState.COMPLETE,
    "failed": TrialState.FAIL,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What trials of a study share. active: the study runs, so a paused trial may go on; folder: for pictures."""

    study: str
    study_id: int
    active: bool
    rungs: tuple[int, ...]
    frontier: Frontier
    parameters: Mapping[str, BaseDistribution]
    folder: Path


def show_trial(
    curve: Curve, segments: Sequence[SegmentRow], around: Surroundings, before: ShownTrial | None
) -> ShownTrial:
    """The trial with its note and pictures; `before` is how it was shown last. segments: its own."""
    trial = curve.trial
    structure, not_drawn = _structure_pictures(trial.candidate, around.folder)
    pictures = [*structure, *_curve_picture(curve, around)]
    addresses = [(_alt(picture.name), f"/artifacts/{around.study_id}/{trial.id}/{picture.id}") for picture in pictures]
    running = next((segment for segment in segments if segment.state == "reserved"), None)
    note = Note(trial_note(around.study, curve, around.frontier, around.rungs, running, addresses, not_drawn))
    return ShownTrial(
        _frozen(curve, segments, around, artifact_attributes(pictures)),
        note.replacing(before.note if before else None),
        tuple(pictures),
    )


def _frozen(
    curve: Curve, segments: Sequence[SegmentRow], around: Surroundings, artifacts: Mapping[str, str]
) -> FrozenTrial:
    trial = curve.trial
    scores = {} if around.frontier.empty else rung_multipliers(curve, around.rungs, around.frontier)
    # Optuna knows no paused trials. While the study runs a page must go on asking for them, as it does for
    # running ones; after that they are where they were pruned.
    state = _STATES.get(trial.state, TrialState.RUNNING if around.active else TrialState.PRUNED)
    if state is TrialState.COMPLETE and not scores:
        state = TrialState.PRUNED  # without a dense run there is no multiplier, which a complete trial must have
    value = scores[max(scores)] if scores and state in (TrialState.COMPLETE, TrialState.PRUNED) else None
    ended = max((s.ended_at for s in segments if s.ended_at is not None), default=trial.created_at)
    return FrozenTrial(
        trial_id=trial.id,
        number=trial.number,
        state=state,
        value=value,
        datetime_start=_local(min((s.reserved_at for s in segments), default=trial.created_at)),
        datetime_complete=_local(trial.finished_at or ended) if state.is_finished() else None,
        params=trial.suggestion["params"] if trial.suggestion else {},
        distributions=dict(around.parameters) if trial.suggestion else {},
        user_attrs=_user_attributes(curve, around.frontier),
        system_attrs=dict(artifacts),
        intermediate_values=scores,
    )


def _user_attributes(curve: Curve, frontier: Frontier) -> dict[str, Any]:
    """Columns of the table of trials, and what its plots may put on an axis."""
    trial = curve.trial
    shown = attributes(trial) | {
        "state": standing(trial),
        "family": trial.facts["family"],
        "rung": trial.rung,
        "flops": float(trial.flops_done),
    }
    if curve.losses:
        flops, loss = curve.losses[-1]
        shown["validation loss"] = loss
        if not frontier.empty:
            shown["multiplier so far"] = frontier.multiplier(flops, loss).value
    if curve.tokens_per_second is not None:
        shown["tokens/s"] = round(curve.tokens_per_second, 1)
    if trial.reason:
        shown["reason"] = trial.reason
    return shown


def _local(moment: datetime) -> datetime:
    """The same moment as Optuna writes it: local time without a zone."""
    return moment.astimezone().replace(tzinfo=None)


def _structure_pictures(candidate: Mapping[str, Any], folder: Path) -> tuple[list[Picture], list[str]]:
    """A picture of each structure of a candidate, and why others are missing."""
    drawings, missing = _drawings(json.dumps(candidate, sort_keys=True))
    return [replace(drawing, path=folder / drawing.path) for drawing in drawings], list(missing)


@cache
def _drawings(candidate: str) -> tuple[tuple[Picture, ...], tuple[str, ...]]:
    """The same of a candidate's JSON, the paths relative: a candidate is read once, not at every refresh."""
    sites: dict[Einsum, list[str]] = {}
    for site, einsum in Candidate.from_json(json.loads(candidate)).by_site.items():
        sites.setdefault(einsum, []).append(site)
    drawings, missing = [], []
    for einsum, names in sites.items():
        what = "structure" if len(sites) == 1 else f"structure of {' '.join(names)}"
        try:
            Diagram(einsum.structure)
        except EinsearchError as error:
            missing.append(f"the {what}: {error}")
            continue
        own = content_id("structure", str(einsum))
        path = Path(f"structure-{own}.svg")
        drawings.append(Picture(id=own, name=f"{what}.svg", path=path, draws=partial(_draw_structure, einsum)))
    return tuple(drawings), tuple(missing)


def _draw_structure(einsum: Einsum) -> bytes:
    d = picture_dimension(einsum)
    return render(Diagram.of(einsum, d, d), "svg")


def _curve_picture(curve: Curve, around: Surroundings) -> list[Picture]:
    losses = curve.losses
    if not losses:
        return []
    own = content_id("curve", losses, around.frontier, around.rungs)
    name = f"curve-{curve.trial.number:04d}"
    return [
        Picture(
            id=own,
            name="curve.svg",
            path=around.folder / f"{name}-{own}.svg",
            draws=partial(draw_curve, losses, around.frontier, around.rungs),
            stale=f"{name}-*.svg",
        )
    ]


def _alt(name: str) -> str:
    return name.removesuffix(".svg")
