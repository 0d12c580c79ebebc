"""Every schema that was ever released comes up to date with all its rows."""

import pytest
from alembic import command
from alembic.script import ScriptDirectory

from einsearch.errors import EinsearchError
from einsearch.store import Store
from einsearch.store.check import schema_faults
from einsearch.store.migrate import _config, revisions

from .old_stores import VERSIONS, fill


def released():
    """All schemas but the one that is being written."""
    scripts = ScriptDirectory.from_config(_config())
    return {script.revision for script in scripts.walk_revisions()} - {scripts.get_current_head()}


def test_there_is_a_file_of_every_released_schema():
    assert set(VERSIONS) == released(), "dump a store of the einsearch before the new migration into tests/store/data"


@pytest.mark.parametrize("version", VERSIONS)
def test_an_old_store_comes_up_to_date(store_url, version):
    fill(version, store_url)
    with pytest.raises(EinsearchError) as caught:
        Store.open(store_url, create=False)
    assert f"has the old schema revision '{version}'; `einsearch db upgrade` upgrades it" in str(caught.value)
    with Store.open(store_url) as store:
        assert revisions(store)[0] == revisions(store)[1]
        assert schema_faults(store) == []
        with store._write() as connection:
            command.check(_config(connection))
        finished, interrupted = store.studies()
        assert (finished.name, finished.state, interrupted.name) == ("tiny", "finished", "interrupted")
        assert interrupted.budget == 10**20 + 1, "beyond 64 bits"
        for study in (finished, interrupted):
            assert store.audit(study.id).violations == ()
        trials = store.trials(finished.id)
        assert [trial.kind for trial in trials] == ["ladder", "search", "search"]
        assert all(curve.losses for curve in store.curves(finished.id))
        copy, other = store.trials(interrupted.id)
        assert (copy.reused_from, other.state) == (trials[0].id, "running")
        segments = store.segments(interrupted.id)
        assert [segment.state for segment in segments] == ["lost", "done", "reserved"]
        assert (segments[2].progress_step, segments[2].progress_loss) == (12, 3.25)
        epoch = store.acquire_lease(interrupted.id, owner="host:2:0", alive=lambda _: False)
        assert epoch == 2
        assert (
            store.add_trial(
                interrupted.id,
                epoch,
                key="new",
                seed=0,
                kind="search",
                candidate={},
                label="",
                flops_per_step=1,
                parameters=1,
                facts={},
            ).id
            > other.id
        )
        assert store.audit(interrupted.id).violations == ()
