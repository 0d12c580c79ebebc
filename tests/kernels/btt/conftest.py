"""Kernels of a given kind, whatever the cost model would choose."""

from collections.abc import Callable

import pytest

from einsearch.kernels.btt import choose
from einsearch.kernels.btt.sizes import Sizes

Force = Callable[[str, str], None]


@pytest.fixture
def force(monkeypatch: pytest.MonkeyPatch) -> Force:
    """Call it with the kinds of the product and of the gradients; where a kind does not fit, the cheapest stays."""

    def forced(product: str, gradient: str) -> None:
        from einsearch.kernels.btt import launch

        def choose_product(sizes: Sizes, **limits: int) -> choose.Choice:
            fitting = {choice.kind: choice for choice in choose.products(sizes, **limits)}
            return fitting.get(product, choose.choose_product(sizes, **limits))

        def choose_gradient(sizes: Sizes, *, given: bool = False, **limits: int) -> choose.Choice:
            fitting = {choice.kind: choice for choice in choose.gradients(sizes, **limits)}
            choice = fitting.get(gradient, fitting["staged"])
            return choice.without_first() if given and choice.kind == "staged" else choice

        monkeypatch.setattr(launch, "choose_product", choose_product)
        monkeypatch.setattr(launch, "choose_gradient", choose_gradient)

    return forced
