"""Kernels are tested on a GPU where there is one, else in Triton's interpreter on the CPU."""

import importlib.util
from collections.abc import Iterator

import pytest
import torch

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


@pytest.fixture(autouse=True, scope="module")
def triton_interpreter() -> Iterator[None]:
    """The environment in which the kernels are interpreted, for the tests of this folder alone.

    Triton looks at it when a kernel's module is imported, so tests import such modules inside functions.
    """
    if DEVICE != "cpu" or importlib.util.find_spec("triton") is None:
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITON_INTERPRET", "1")
        mend_interpreter(patch)
        yield


def mend_interpreter(patch: pytest.MonkeyPatch) -> None:
    """Before Triton 3.7 it takes the `int` of arrays of one element, which NumPy 2.4 refuses (triton issue 9171)."""
    from triton.runtime import interpreter

    original = interpreter._patch_lang_tensor

    def mended(tensor: object, *scope: object) -> None:
        original(tensor, *scope)
        tensor.__index__ = lambda self: self.handle.data.item()

    patch.setattr(interpreter, "_patch_lang_tensor", mended)


@pytest.fixture
def device() -> str:
    return DEVICE
