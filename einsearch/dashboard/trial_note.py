"""What the page of a trial says: Markdown, which optuna-dashboard shows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from einsearch.frontier import Frontier
from einsearch.report.markdown import cell, plain
from einsearch.report.text import count_text, flops_text, speed_text
from einsearch.store import Curve, SegmentRow, TrialRow

_APART = "\u2003"
"""At the end of cells: optuna-dashboard leaves nothing between columns."""


def trial_note(
    study: str,
    curve: Curve,
    frontier: Frontier,
    rungs: Sequence[int],
    running: SegmentRow | None,
    pictures: Iterable[tuple[str, str]],
    not_drawn: Sequence[str] = (),
) -> str:
    """Where a trial stands, what it is, what it costs, its layers and its curve.

    running: its reserved segment. pictures: of its structure and curve, each with its address. not_drawn:
    why others are missing.
    """
    trial, facts = curve.trial, curve.trial.facts
    taxonomy = facts["taxonomy"]
    shown = dict(pictures)
    rows = [
        ("state", _state(trial, rungs, running)),
        *([("reason", cell(trial.reason))] if trial.reason else []),
        ("compute multiplier", _multiplier(curve, frontier)),
        ("θ", cell(facts["theta"])),
        ("family", cell(facts["family"])),
        ("ω, ψ, ν", f"{taxonomy['omega']:g}, {taxonomy['psi']:g}, {taxonomy['nu']:g}"),
        ("model", f"width {facts['width']}, depth {facts['depth']}"),
        ("parameters", _parameters(trial)),
        ("training", _training(trial)),
        ("speed", f"{speed_text(curve.tokens_per_second)} tokens/s" if curve.tokens_per_second else "not measured"),
        ("key", f"`{trial.key}`, seed {trial.seed}; `einsearch show {trial.key} --study {study}`"),
    ]
    parts = [f"## {plain(trial.label)}", table(("", ""), rows)]
    parts += [f"![{name}]({address})" for name, address in shown.items() if name != "curve"]
    parts += [f"*Not drawn: {plain(reason)}.*" for reason in not_drawn]
    parts += ["### Curve"]
    if "curve" in shown:
        parts.append(f"![curve]({shown['curve']})")
    parts += [_points(curve, frontier), "### Layers", _layers(trial)]
    return "\n\n".join(parts) + "\n"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table, left-aligned; the texts are cells already."""
    first, *others = ("| " + f"{_APART} | ".join(line) + " |" for line in (head, *rows))
    return "\n".join([first, "|" + " :-- |" * len(head), *others])


def standing(trial: TrialRow) -> str:
    """The state in the words of the study: paused trials wait for a promotion."""
    return f"paused at rung {trial.rung}" if trial.state == "paused" else trial.state


def _state(trial: TrialRow, rungs: Sequence[int], running: SegmentRow | None) -> str:
    of = f" of 0 to {len(rungs) - 1}" if trial.state == "paused" and rungs else ""
    if running is None:
        return f"**{standing(trial)}**{of}"
    step = running.progress_step or running.start_step
    loss = "" if running.progress_loss is None else f", training loss {running.progress_loss:.4f}"
    return f"**running** on {cell(running.worker)}: step {step} of {running.end_step}{loss}"


def _multiplier(curve: Curve, frontier: Frontier) -> str:
    if not curve.losses:
        return "not evaluated yet"
    if frontier.empty:
        return "no dense run yet"
    flops, loss = curve.losses[-1]
    return f"**{frontier.multiplier(flops, loss)}** at {flops_text(flops)} FLOPs, validation loss {loss:.4f}"


def _parameters(trial: TrialRow) -> str:
    active = trial.facts.get("active_parameters", trial.parameters)
    of_a_token = "" if active == trial.parameters else f", {count_text(active)} of them active for a token"
    return count_text(trial.parameters) + of_a_token


def _training(trial: TrialRow) -> str:
    done, a_step = flops_text(trial.flops_done), flops_text(trial.flops_per_step)
    return f"{count_text(trial.step)} steps, {done} FLOPs ({a_step} a step)"


def _layers(trial: TrialRow) -> str:
    rows = (
        (name, cell(layer["sizes"]), *(count_text(layer[what]) for what in ("parameters", "macs", "rank_bound")))
        for name, layer in trial.facts["layers"].items()
    )
    return table(("layer", "sizes", "parameters", "MACs a token", "rank at most"), rows)


def _points(curve: Curve, frontier: Frontier) -> str:
    rows = []
    for point in curve.points:
        if point.validation_loss is None:
            continue
        multiplier = "" if frontier.empty else str(frontier.multiplier(point.flops, point.validation_loss))
        train = "" if point.train_loss is None else f"{point.train_loss:.4f}"
        rows.append(
            (count_text(point.step), flops_text(point.flops), train, f"{point.validation_loss:.4f}", multiplier)
        )
    if not rows:
        return "No validation loss was measured."
    return table(("step", "FLOPs", "training loss", "validation loss", "multiplier"), rows)
