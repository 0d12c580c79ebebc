"""Every fault on every backend and store (`make test-faults`); CI runs a part.

Each time the study ends by itself, no candidate is trained twice, the ledger is right and within the budget, no
trial is left running, and the results are those of an undisturbed run.

Every pair of fault, backend and store would be 26 cases or more. The part in CI is what fits into minutes: each
fault, and each backend with each store.
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
    ("worker_killed", "local", "sqlite"),
    ("worker_paused", "ray", "sqlite"),
    ("node_killed", "ray", "postgresql"),
    ("driver_killed_ten_times", "local", "postgresql"),
    ("machine_lost", "local", "sqlite"),
    ("two_drivers", "local", "postgresql"),
    ("database_restarted", "tune", "postgresql"),
    ("disk_full", "tune", "sqlite"),
    ("checkpoints_truncated", "ray", "sqlite"),
)


def test_ci_meets_every_fault_and_every_backend_with_every_store() -> None:
    assert set(IN_CI) <= set(ALL)
    assert {fault for fault, _, _ in IN_CI} == FAULTS.keys()
    assert {(backend, store) for _, backend, store in IN_CI} == set(product(BACKENDS, STORES))


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
