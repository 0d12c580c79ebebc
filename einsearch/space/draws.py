"""Valid random points of a search space, found without building a candidate for each one that is not.

Conditions on omega, psi and nu, nu <= 1 and irreducibility are decided for thousands of points at once, site
by site: where few structures are valid, and sites choose apart, nearly no combination would be. Only what
passes becomes a candidate, and is checked exactly.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from einsearch.errors import EinsearchError
from einsearch.space.candidate import Candidate
from einsearch.space.parametrization import GRID, coordinate_names, decode_arrays, keep_greatest
from einsearch.space.search_space import Params, SearchSpace, conditions_on_taxonomy
from einsearch.space.structure import Structure, index_kinds
from einsearch.space.taxonomy import taxonomy_arrays

Floats = npt.NDArray[np.float64]

BATCH = 4096
POOL = 64
"""Random structures that pass, of which the nearest stands in for one that does not."""

MOST_POINTS = 400_000
"""Random points of one site that are looked at before a space counts as empty."""

MOST_REFUSED = 5_000
"""Candidates made of passing structures, but refused one after the other, before it does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What random points of a space come to.

    points: of one site, looked at; passed: those whose structure is irreducible, not dearer than dense and
    meets the conditions on the taxonomy. candidates: tried, with passing structures at all sites; valid: those
    that may be trained. reasons: why others may not, one of each kind, the most common first.
    """

    points: int
    passed: int
    candidates: int
    valid: int
    reasons: tuple[str, ...]

    @property
    def structure_fraction(self) -> float:
        """Of random structures of one site, the fraction that passes."""
        return self.passed / self.points if self.points else 0.0

    @property
    def candidate_fraction(self) -> float:
        """Of candidates with passing structures at all sites, the fraction that may be trained."""
        return self.valid / self.candidates if self.candidates else 0.0


class Drawer:
    """Draws valid candidates of a space: an endless stream, the same for the same generator."""

    def __init__(self, space: SearchSpace, generator: np.random.Generator) -> None:
        self.space = space
        self._generator = generator
        self._points = self._passed = self._candidates = self._valid = 0
        self._reasons: dict[str, tuple[int, str]] = {}  # of a kind: how many, and the first

    @property
    def survey(self) -> Survey:
        return Survey(
            points=self._points,
            passed=self._passed,
            candidates=self._candidates,
            valid=self._valid,
            reasons=tuple(first for _, first in sorted(self._reasons.values(), key=lambda held: -held[0])),
        )

    def valid(self, most_points: int = MOST_POINTS) -> Iterator[tuple[Params, Candidate]]:
        """Valid candidates with their parameters.

        Until `most_points` random points of a site have been looked at, or MOST_REFUSED candidates refused in a row.
        """
        end = self._points + most_points
        refused = 0
        waiting: list[dict[str, float | int]] = []
        sites = self.space.searched
        while self._points < end and refused < MOST_REFUSED:
            waiting += self._passing(min(BATCH, end - self._points))
            while len(waiting) >= len(sites) and refused < MOST_REFUSED:
                parts, waiting = waiting[: len(sites)], waiting[len(sites) :]
                params: Params = {"width": int(self._generator.integers(len(self.space.widths)))}
                for name, options in self.space.mixture_options().items():
                    params[name] = int(self._generator.integers(options))
                for site, part in zip(sites, parts, strict=True):
                    params |= {f"{site}.{name}": value for name, value in part.items()}
                candidate = self.space.candidate(params)
                reason = self.space.refuses(candidate)
                self._candidates += 1
                if reason is None:
                    self._valid += 1
                    refused = 0
                    yield params, candidate
                else:
                    refused += 1
                    count, first = self._reasons.get(_kind(reason), (0, reason))
                    self._reasons[_kind(reason)] = (count + 1, first)

    def _passing(self, count: int) -> list[dict[str, float | int]]:
        """Parameters of one site, without its name, of those of `count` random points whose structure passes."""
        self._points += count
        if not self.space.continuous:
            self._passed += count
            return [{"structure": int(n)} for n in self._generator.integers(len(self.space.structures), size=count)]
        names = self.space.coordinates
        coordinates = self._generator.random((count, len(names)))
        kept = np.flatnonzero(self.passes(coordinates))
        self._passed += len(kept)
        return [dict(zip(names, (float(u) for u in coordinates[row]), strict=True)) for row in kept]

    def passes(self, coordinates: Floats) -> npt.NDArray[np.bool_]:
        """Whether structures are irreducible, not dearer than dense and meet the conditions on the taxonomy.

        coordinates: (points, coordinates of the space), for one site of a continuous space.
        """
        space = self.space
        kinds = index_kinds(space.factors)
        place = [name in space.coordinates for name in coordinate_names(space.factors).values()]
        full = np.full((len(coordinates), len(kinds)), -1.0)
        full[:, place] = coordinates
        if space.max_indices is not None:
            full = keep_greatest(space.factors, full, space.max_indices)
        units = decode_arrays(space.factors, full)
        # An exponent of 0 adds nothing to any sum: the forms of all kinds together serve every structure.
        found = taxonomy_arrays(Structure.of(space.factors, kinds), units / GRID)
        kept = _irreducible(units > 0, space.factors) & (np.round(found.nu, 9) <= 1)
        for condition in conditions_on_taxonomy(space):
            kept &= condition.holds_for({"omega": found.omega, "psi": found.psi, "nu": found.nu})
        return kept

    def mended(self, params: Params, most_points: int = MOST_POINTS) -> Params | None:
        """A proposal in which each site whose structure does not pass takes the nearest of some random ones that do.

        None where none passes. The candidate may still be refused: sizes and costs are not looked at.
        """
        names = self.space.coordinates
        own = {s: np.array([float(params[f"{s}.{name}"]) for name in names]) for s in self.space.searched}
        wrong = [site for site, row in own.items() if not self.passes(row[None])[0]]
        end = self._points + most_points
        pool: list[dict[str, float | int]] = []
        while wrong and len(pool) < POOL and self._points < end:
            pool += self._passing(min(BATCH, end - self._points))
        if wrong and not pool:
            return None
        others = np.array([[float(part[name]) for name in names] for part in pool])
        mended = dict(params)
        for site in wrong:
            row = others[int(((others - own[site]) ** 2).sum(axis=1).argmin())]
            mended |= {f"{site}.{name}": float(u) for name, u in zip(names, row, strict=True)}
        return mended


def _irreducible(present: npt.NDArray[np.bool_], factors: int) -> npt.NDArray[np.bool_]:
    """No factor's indices all in another's, for (points, kinds); connection to x and y is left to the exact check."""
    held = np.array([[f in kind.factors for kind in index_kinds(factors)] for f in range(factors)])
    kept = np.ones(len(present), dtype=bool)
    for f in range(factors):
        for g in range(factors):
            if f != g:
                kept &= (present & (held[f] & ~held[g])).any(axis=1)
    return kept


def _kind(reason: str) -> str:
    """What reasons of one kind share: without the site or layer before it and what follows."""
    parts = reason.split(": ")
    return parts[1] if len(parts) > 1 else reason


def require_valid(space: SearchSpace) -> None:
    """EinsearchError where no valid candidate is known and none is found among many random points."""
    if next(space.known_first(), None) is not None:
        return
    drawer = Drawer(space, np.random.default_rng(0))
    if next(drawer.valid(MOST_POINTS), None) is not None:
        return
    survey = drawer.survey
    why = survey.reasons[0] if survey.reasons else " and ".join(f"condition {text!r}" for text in space.where)
    seen = f"{survey.points:,} random structures" if not survey.passed else f"{survey.candidates:,} random candidates"
    raise EinsearchError(
        f"search space {space.name} is empty: none of {seen} is valid at widths "
        f"{', '.join(map(str, space.widths))}{f' ({why})' if why else ''}; relax its conditions or its indices"
    )
