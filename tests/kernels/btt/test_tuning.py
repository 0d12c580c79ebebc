"""The tuner: it may choose only among configurations that give the same result."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from einsearch.kernels.btt import reference
from einsearch.kernels.btt.choose import CONFIGS
from einsearch.kernels.btt.triton import btt
from tests.kernels.btt.conftest import Force
from tests.kernels.compare import TOLERANCE, assert_close, draw, outputs_and_gradients

pytest.importorskip("triton")


def inputs(device: str) -> dict[str, torch.Tensor]:
    shapes = {"x": (20, 6), "a": (2, 3, 17, 1), "b": (3, 4, 17, 1)}
    return {name: draw(*shape, seed=n, device=device) for n, (name, shape) in enumerate(shapes.items())}


@pytest.mark.parametrize("kinds", [("resident", "fused"), ("streamed", "staged"), ("staged", "fused")])
def test_every_configuration_is_the_reference(
    kinds: tuple[str, str], device: str, force: Force, monkeypatch: pytest.MonkeyPatch
) -> None:
    from einsearch.kernels.btt import launch

    force(*kinds)
    expected = outputs_and_gradients(reference.btt, inputs(device))
    run = launch._run
    for place in range(1, CONFIGS):

        def run_other(kernel: Any, grid: Any, configs: Any, *rest: Any, place: int = place) -> None:
            run(kernel, grid, (configs[min(place, len(configs) - 1)],), *rest)

        monkeypatch.setattr(launch, "_run", run_other)
        actual = outputs_and_gradients(btt, inputs(device), dtype=torch.float32)
        assert_close(actual, expected, tolerance=TOLERANCE[torch.float32])


@pytest.mark.skipif(torch.cuda.is_available(), reason="there the tuner runs as it is")
def test_the_tuner_launches_what_is_fastest(force: Force, monkeypatch: pytest.MonkeyPatch) -> None:
    """Triton's own tuner around the interpreted kernels, with a stopwatch that says what we want."""
    from triton.runtime.autotuner import Autotuner

    from einsearch.kernels.btt import launch

    timed: list[float] = []

    def stopwatch(call: Callable[[], None], quantiles: Any = None) -> list[float]:
        call()
        timed.append(-float(len(timed)))  # the last one tried is the fastest
        return [timed[-1]] * 3

    monkeypatch.setattr(Autotuner, "do_bench", property(lambda self: stopwatch), raising=False)
    monkeypatch.setattr(launch, "tunes", lambda: True)
    launch.tuned.cache_clear()
    force("resident", "fused")
    assert_close(
        outputs_and_gradients(btt, inputs("cpu"), dtype=torch.float32),
        outputs_and_gradients(reference.btt, inputs("cpu")),
        tolerance=TOLERANCE[torch.float32],
    )
    tuners = launch.tuned.cache_info().currsize
    launch.tuned.cache_clear()
    assert tuners == 4
    assert 4 < len(timed) <= 4 * CONFIGS
