"""Reading a study leaves it as it is."""

import pytest

from einsearch.errors import EinsearchError
from einsearch.frontier import dense_frontier
from einsearch.report.study_data import read_study


def test_a_study_is_read_whole(recorder, full):
    assert full.study.name == "tiny"
    assert list(full.curves) == recorder.store.curves(full.study.id)
    assert list(full.segments) == recorder.store.segments(full.study.id)
    assert recorder.store.audit(full.study.id).violations == ()


def test_search_and_report_share_the_frontier(full):
    assert full.frontier == dense_frontier(full.curves)
    assert not full.frontier.empty


def test_what_is_not_there_is_named(recorder, tmp_path):
    with pytest.raises(EinsearchError, match="nowhere"):
        read_study(recorder.url, "nowhere")
    with pytest.raises(EinsearchError, match=r"none\.db"):
        read_study(f"sqlite:///{tmp_path}/none.db", "tiny")
    assert not (tmp_path / "none.db").exists()
