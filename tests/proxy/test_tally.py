"""Statistics of training steps, worked by hand."""

import pytest
import torch

from einsearch.proxy.tally import Tally


def test_means_and_extremes() -> None:
    tally = Tally()
    for loss, norm in ((4.0, 1.0), (3.0, 5.0), (4.5, 3.0)):
        tally.add(torch.tensor(loss), torch.tensor(norm), [])
    # The running mean before the last step is 0.9 * 4 + 0.1 * 3.
    assert tally.result() == pytest.approx(
        {"gradient_norm": 3.0, "greatest_gradient_norm": 5.0, "greatest_loss_rise": 4.5 - 3.9}
    )


def test_what_is_not_finite_is_left_out() -> None:
    tally = Tally()
    tally.add(torch.tensor(torch.nan), torch.tensor(2.0), [])
    assert tally.result() == {"gradient_norm": 2.0, "greatest_gradient_norm": 2.0}


def test_nothing_without_steps() -> None:
    assert Tally().result() == {}
