"""The finding claims what was measured, and no more."""

from einsearch.report.summary import summarize

from .conftest import CONFIG, RUNGS


def finding(recorder):
    return summarize(recorder.data()).finding


def test_a_lead(recorder):
    recorder.dense()
    recorder.search(multiplier=1.4)
    recorder.search("low-rank(1/2)", multiplier=0.9)
    assert finding(recorder) == (
        "BTT rank 1 (0.5|0|0.5|0|0.5|0.5|0) at width 32 reached validation loss 2.493 with 8.09e10 FLOPs; dense needs "
        "1.40 times that. The best of 2 candidates, one seed: no interval, treat it as a lead, not a result."
    )


def test_nothing_beats_dense(recorder):
    recorder.dense()
    recorder.search(multiplier=0.7, seed=0)
    recorder.search(multiplier=0.7, seed=1)
    text = finding(recorder)
    assert "; dense needs only 0.70 times that. " in text
    assert text.endswith("The only candidate, mean of 2 seeds; no interval was computed.")


def test_bounds_are_said(recorder):
    recorder.dense(to_flops=RUNGS[1])
    recorder.search(multiplier=1.5)
    assert "; no dense run reached that loss, so dense needs at least 0.33 times that. " in finding(recorder)


def test_a_candidate_worse_than_all_of_dense(recorder):
    recorder.dense()
    recorder.search(multiplier=0.01)
    assert "; dense was better at its first evaluation, so it needs at most 0.0" in finding(recorder)


def test_no_ladder(recorder):
    recorder.search()
    assert "; there is no dense run to compare it with. " in finding(recorder)


def test_a_low_rung_is_said(recorder):
    recorder.dense()
    recorder.search(rungs=1)
    assert " It completed rung 0 of 0 to 2: longer runs may reverse the order. " in finding(recorder)


def test_no_candidate(new_recorder):
    recorder = new_recorder()
    assert finding(recorder) == "No candidate completed a rung: 0 candidates were begun, 0 % of the budget is used."
    recorder.dense()
    recorder.add()
    recorder.store.set_study_state(recorder.study.id, recorder.epoch, "running", seconds=1.0)
    assert finding(recorder) == (
        "No candidate completed a rung: 1 candidate was begun, 16 % of the budget is used. The study is still running."
    )


def test_a_study_without_a_plan_says_the_same(new_recorder):
    planned, unplanned = new_recorder("planned"), new_recorder("unplanned", CONFIG | {"plan": {}})
    for recorder in (planned, unplanned):
        recorder.dense()
        recorder.search()
    assert finding(planned) == finding(unplanned)
