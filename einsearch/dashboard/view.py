"""The studies of a store as an Optuna storage that can only be read."""

from __future__ import annotations

import json
from collections.abc import Container, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from functools import cached_property
from numbers import Real
from typing import Any, NoReturn

from optuna.distributions import BaseDistribution
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.study._frozen import FrozenStudy
from optuna.trial import FrozenTrial, TrialState

from einsearch.dashboard.pictures import Picture

OBJECTIVE = "compute multiplier"


@dataclass(frozen=True, slots=True)
class Note:
    """Markdown; `version` grows with every change of the text."""

    body: str
    version: int = 1

    def replacing(self, before: Note | None) -> Note:
        """This text as the next version of another note; that note itself where the text is the same."""
        if before is None:
            return self
        return before if before.body == self.body else Note(self.body, before.version + 1)

    def attributes(self, trial_id: int | None = None) -> dict[str, Any]:
        """The study attributes that optuna-dashboard keeps a note in, of a trial or of the study."""
        of = "dashboard:" if trial_id is None else f"dashboard:{trial_id}:"
        return {f"{of}note_ver": self.version, f"{of}note_str:0": self.body}


@dataclass(frozen=True)
class ShownTrial:
    """A trial as Optuna has it, with its note and its pictures."""

    frozen: FrozenTrial
    note: Note
    pictures: tuple[Picture, ...] = ()

    @property
    def id(self) -> int:
        return self.frozen._trial_id


@dataclass(frozen=True)
class ShownStudy:
    """A study as Optuna has it. figures: Plotly's JSON by id, in the order in which they are shown.

    parameters: those of the search space. The trials ascend by number; numbers are those of the store, so
    that of runs that are no candidates are missing.
    """

    id: int
    name: str
    note: Note
    trials: tuple[ShownTrial, ...]
    parameters: Mapping[str, BaseDistribution]
    figures: Mapping[str, str]
    facts: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def frozen_alone(self) -> FrozenStudy:
        """The study without the notes of its trials, which Optuna keeps in the study."""
        figures = {f"dashboard:plot_data:{name}:0": text for name, text in self.figures.items()}
        return FrozenStudy(
            study_name=self.name,
            direction=None,
            directions=[StudyDirection.MAXIMIZE],
            user_attrs=dict(self.facts),
            system_attrs={"study:metric_names": [OBJECTIVE], **self.note.attributes(), **figures},
            study_id=self.id,
        )

    @cached_property
    def frozen(self) -> FrozenStudy:
        """The study with all that Optuna keeps in it."""
        notes = {key: value for trial in self.trials for key, value in trial.note.attributes(trial.id).items()}
        whole = copy(self.frozen_alone)
        whole.system_attrs = whole.system_attrs | notes
        return whole

    @cached_property
    def attribute_kinds(self) -> dict[str, bool]:
        """Each attribute of the trials, and whether it is always a number."""
        kinds: dict[str, bool] = {}
        for trial in self.trials:
            for name, value in trial.frozen.user_attrs.items():
                number = isinstance(value, Real) and not isinstance(value, bool)
                kinds[name] = kinds.get(name, True) and number
        return kinds

    @cached_property
    def by_trial_id(self) -> dict[int, ShownTrial]:
        return {trial.id: trial for trial in self.trials}

    @cached_property
    def pictures(self) -> dict[str, Picture]:
        return {picture.id: picture for trial in self.trials for picture in trial.pictures}

    @property
    def best(self) -> ShownTrial | None:
        """The trial with the greatest multiplier at the top rung; None before one is there."""
        complete = [trial for trial in self.trials if trial.frozen.state is TrialState.COMPLETE]
        return max(complete, key=lambda trial: trial.frozen.value or 0.0, default=None)


class StoreView(BaseStorage):
    """What was put in last; a study is replaced whole, so a reader sees it as it was at one moment.

    Ids of studies and trials are those of the store. Whatever would write raises TypeError.
    """

    def __init__(self) -> None:
        self._studies: dict[int, ShownStudy] = {}

    def replace(self, studies: Sequence[ShownStudy]) -> None:
        """Show these studies, and no others, from now on."""
        self._studies = {study.id: study for study in studies}

    def shown(self, study_id: int) -> ShownStudy | None:
        return self._studies.get(study_id)

    def picture(self, artifact_id: str) -> Picture | None:
        return next((s.pictures[artifact_id] for s in self._studies.values() if artifact_id in s.pictures), None)

    # What Optuna and optuna-dashboard read.

    def get_all_studies(self) -> list[FrozenStudy]:
        return [study.frozen for study in self._studies.values()]

    def get_study_id_from_name(self, study_name: str) -> int:
        for study in self._studies.values():
            if study.name == study_name:
                return study.id
        raise KeyError(f"no study {study_name!r}")

    def get_study_name_from_id(self, study_id: int) -> str:
        return self._study(study_id).name

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        return self._study(study_id).frozen.directions

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        return dict(self._study(study_id).frozen.user_attrs)

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        return dict(self._study(study_id).frozen.system_attrs)

    def get_trial(self, trial_id: int) -> FrozenTrial:
        for study in self._studies.values():
            if trial_id in study.by_trial_id:
                return study.by_trial_id[trial_id].frozen
        raise KeyError(f"no trial with id {trial_id}")

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """The trials of a study, never copied: they are replaced, not changed."""
        trials = [trial.frozen for trial in self._study(study_id).trials]
        return trials if states is None else [trial for trial in trials if trial.state in states]

    def _study(self, study_id: int) -> ShownStudy:
        if study_id not in self._studies:
            raise KeyError(f"no study with id {study_id}")
        return self._studies[study_id]

    # What they may not write.

    def create_new_study(self, directions: Sequence[StudyDirection], study_name: str | None = None) -> int:
        _refuse()

    def delete_study(self, study_id: int) -> None:
        _refuse()

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        _refuse()

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        _refuse()

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        _refuse()

    def set_trial_param(
        self, trial_id: int, param_name: str, param_value_internal: float, distribution: BaseDistribution
    ) -> None:
        _refuse()

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        _refuse()

    def set_trial_intermediate_value(self, trial_id: int, step: int, intermediate_value: float) -> None:
        _refuse()

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        _refuse()

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        _refuse()


def _refuse() -> NoReturn:
    raise TypeError("this Optuna storage shows an einsearch store and can only be read")


def artifact_attributes(pictures: Sequence[Picture]) -> dict[str, str]:
    """The trial attributes in which Optuna lists artifacts."""
    return {
        f"artifacts:{picture.id}": json.dumps(
            {"artifact_id": picture.id, "filename": picture.name, "mimetype": "image/svg+xml", "encoding": None}
        )
        for picture in pictures
    }
