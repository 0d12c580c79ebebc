"""Optuna's storage for one proposal: finished trials that are shared between proposals, and the few that are asked for.

Optuna's own in-memory storage copies every trial deeply, into the study and out of it again. At hundreds of trials that
takes a second a proposal, many times as long as the sampler itself.
"""

from __future__ import annotations

import copy
from collections.abc import Container, Sequence
from datetime import datetime
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.study._frozen import FrozenStudy
from optuna.trial import FrozenTrial, TrialState

_STUDY = 0


class WindowStorage(BaseStorage):
    """One study in memory that begins with `trials`; they are renumbered, and otherwise never changed.

    Attributes are set on copies, as Optuna's in-memory storage does. There is one study, with id 0.
    """

    def __init__(self, trials: Sequence[FrozenTrial]) -> None:
        self._trials = list(trials)
        for number, trial in enumerate(self._trials):
            trial.number = trial._trial_id = number
        self._directions: list[StudyDirection] = []
        self._name = ""
        self._user_attrs: dict[str, Any] = {}
        self._system_attrs: dict[str, Any] = {}

    # The study.

    def create_new_study(self, directions: Sequence[StudyDirection], study_name: str | None = None) -> int:
        self._directions, self._name = list(directions), study_name or "window"
        return _STUDY

    def delete_study(self, study_id: int) -> None:
        self._trials.clear()

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        self._user_attrs = self._user_attrs | {key: value}

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        self._system_attrs = self._system_attrs | {key: value}

    def get_study_id_from_name(self, study_name: str) -> int:
        if study_name != self._name:
            raise KeyError(f"no study {study_name!r} in a window")
        return _STUDY

    def get_study_name_from_id(self, study_id: int) -> str:
        return self._name

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        return self._directions

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        return self._user_attrs

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        return self._system_attrs

    def get_all_studies(self) -> list[FrozenStudy]:
        return [
            FrozenStudy(
                study_name=self._name,
                direction=None,
                directions=self._directions,
                user_attrs=self._user_attrs,
                system_attrs=self._system_attrs,
                study_id=_STUDY,
            )
        ]

    # Its trials.

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        number = len(self._trials)
        if template_trial is None:
            trial = FrozenTrial(
                number=number,
                trial_id=number,
                state=TrialState.RUNNING,
                value=None,
                datetime_start=datetime.now(),
                datetime_complete=None,
                params={},
                distributions={},
                user_attrs={},
                system_attrs={},
                intermediate_values={},
            )
        else:
            trial = copy.deepcopy(template_trial)
            trial.number = trial._trial_id = number
        self._trials.append(trial)
        return number

    def set_trial_param(
        self, trial_id: int, param_name: str, param_value_internal: float, distribution: BaseDistribution
    ) -> None:
        trial = self._changing(trial_id)
        trial.params = trial.params | {param_name: distribution.to_external_repr(param_value_internal)}
        trial.distributions = trial.distributions | {param_name: distribution}

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        if state == TrialState.RUNNING and self._trials[trial_id].state != TrialState.WAITING:
            return False
        trial = self._changing(trial_id)
        trial.state = state
        if values is not None:
            trial.values = list(values)
        if state == TrialState.RUNNING:
            trial.datetime_start = datetime.now()
        elif state.is_finished():
            trial.datetime_complete = datetime.now()
        return True

    def set_trial_intermediate_value(self, trial_id: int, step: int, intermediate_value: float) -> None:
        trial = self._changing(trial_id)
        trial.intermediate_values = trial.intermediate_values | {step: intermediate_value}

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        trial = self._changing(trial_id)
        trial.user_attrs = trial.user_attrs | {key: value}

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        trial = self._changing(trial_id)
        trial.system_attrs = trial.system_attrs | {key: value}

    def get_trial(self, trial_id: int) -> FrozenTrial:
        return self._trials[trial_id]

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        found = [trial for trial in self._trials if states is None or trial.state in states]
        return copy.deepcopy(found) if deepcopy else found

    def _changing(self, trial_id: int) -> FrozenTrial:
        """A copy of a trial that may be changed, in its place; finished ones are refused as everywhere in Optuna."""
        self.check_trial_is_updatable(trial_id, self._trials[trial_id].state)
        self._trials[trial_id] = copy.copy(self._trials[trial_id])
        return self._trials[trial_id]
