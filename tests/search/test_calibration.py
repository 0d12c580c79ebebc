import pytest
import torch

from einsearch.search.calibration import calibrate


def test_a_measured_speed_gives_the_expected_time(tiny_config, open_study):
    study = open_study(tiny_config)
    one = calibrate(study.plan, study.setting, study.corpus, torch.device("cpu"), workers=1)
    assert one.dense > 0
    assert one.candidates > 0
    search = study.plan.budget - study.plan.ladder_flops
    training = study.plan.ladder_flops / one.dense + search / one.candidates
    assert one.seconds == pytest.approx(1.25 * training)
    assert study.row() is None, "measuring books nothing"
