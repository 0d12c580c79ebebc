"""Every fault on every backend and store; CI runs a part in which every pair of them meets (`make test-faults`: all).

Each time the study ends by itself, no candidate is trained twice, the ledger is right and within the budget, no
trial is left running, and the results are those of an undisturbed run.
"""

from itertools import product

import pytest

from tests.faults.conftest import MakeLab
from tests.faults.faults import FAULTS
from tests.faults.lab import Table

IN_CI = {
    ("worker_killed", "local", "sqlite"),
    ("worker_killed", "ray", "sqlite"),
    ("worker_paused", "local", "sqlite"),
    ("checkpoints_truncated", "local", "sqlite"),
    ("two_drivers", "local", "sqlite"),
    ("disk_full", "ray", "sqlite"),
}

CASES = [
    pytest.param(*case, marks=() if case in IN_CI else pytest.mark.slow, id="-".join(case))
    for case in product(FAULTS, ("local", "ray"), ("sqlite",))
]


@pytest.mark.parametrize(("fault", "backend", "store"), CASES)
def test_a_disturbed_study_ends_as_an_undisturbed_one(
    fault: str, backend: str, store: str, make_lab: MakeLab, undisturbed: Table
) -> None:
    lab = make_lab(backend, store)
    FAULTS[fault](lab)
    lab.check()
    assert lab.table() == undisturbed
