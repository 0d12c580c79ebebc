"""Every fault on every backend and store (`make test-faults`); CI runs a part.

Each time the study ends by itself, no candidate is trained twice, the ledger is right and within the budget, no
trial is left running, and the results are those of an undisturbed run.

For every pair of fault, backend and store to meet in CI it would take 26 cases. The part that is there was chosen by
hand, to fit into minutes: each backend with each store, and each fault once, but for the ten kills of the driver, the
dearest: one kill of it is in `machine_lost`.
"""

from itertools import product

import pytest

from tests.faults.conftest import MakeLab
from tests.faults.faults import FAULTS
from tests.faults.lab import Table

BACKENDS = ("local", "ray", "tune")
STORES = ("sqlite", "postgresql")

Case = tuple[str, str, str]


def exists(case: Case) -> bool:
    """Whether the backend has what the fault strikes, and the store."""
    fault, backend, store = case
    return not (fault == "node_killed" and backend == "local") and not (
        fault == "database_restarted" and store == "sqlite"
    )


ALL: tuple[Case, ...] = tuple(case for case in product(FAULTS, BACKENDS, STORES) if exists(case))

IN_CI: tuple[Case, ...] = (
    ("worker_killed", "tune", "sqlite"),
    ("worker_paused", "local", "sqlite"),
    ("node_killed", "ray", "postgresql"),
    ("machine_lost", "ray", "sqlite"),
    ("two_drivers", "local", "postgresql"),
    ("database_restarted", "tune", "postgresql"),
    ("disk_full", "local", "sqlite"),
    ("checkpoints_truncated", "local", "postgresql"),
)


def test_what_ci_meets() -> None:
    assert set(IN_CI) <= set(ALL)
    assert {fault for fault, _, _ in IN_CI} == FAULTS.keys() - {"driver_killed_ten_times"}
    assert {(backend, store) for _, backend, store in IN_CI} == set(product(BACKENDS, STORES))
    pairs = {(fault, other) for fault, backend, store in ALL for other in (backend, store)}
    assert len({pair for pair in pairs if pair[1] in BACKENDS}) == 26, "cases that every pair would take, at least"


@pytest.mark.parametrize(
    ("fault", "backend", "store"),
    [pytest.param(*case, marks=() if case in IN_CI else pytest.mark.slow, id="-".join(case)) for case in ALL],
)
def test_a_disturbed_study_ends_as_an_undisturbed_one(
    fault: str, backend: str, store: str, make_lab: MakeLab, undisturbed: Table
) -> None:
    lab = make_lab(backend, store)
    FAULTS[fault](lab)
    lab.check()
    assert lab.table() == undisturbed, lab.story()
