"""Gradients of a batch: at once, or part by part where memory does not hold it."""

from __future__ import annotations

import torch
from torch import Tensor

from einsearch.errors import EinsearchError
from einsearch.proxy.device import autocast
from einsearch.proxy.gpt2 import Losses, ProxyGPT2
from einsearch.proxy.protocol import Setting


class OutOfMemory(EinsearchError):
    """A model does not fit into the memory that a trial may take."""


class Gradients:
    """Computes the gradients of a model's objective, and halves the micro-batch whenever memory runs out.

    micro_batch: sequences at a time; None: whole batches. A smaller one gives the same gradients up to rounding.
    """

    def __init__(self, model: ProxyGPT2, setting: Setting, micro_batch: int | None = None) -> None:
        self.micro_batch = micro_batch
        self._model = model
        self._setting = setting

    def add(self, window_BT1: Tensor) -> Losses:
        """Add the gradients of the mean objective of windows to the model's, and return their mean losses.

        Nothing has been added before a batch is tried again. Raises OutOfMemory where not even one sequence fits,
        and for mixtures of experts, whose routers balance whole batches.
        """
        while True:
            try:
                return self._add(window_BT1)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                self._halve(len(window_BT1), error)
            # Here the error and the tensors of its frames are gone.
            self._model.zero_grad(set_to_none=True)
            if window_BT1.is_cuda:
                torch.cuda.empty_cache()

    def _add(self, window_BT1: Tensor) -> Losses:
        parts = window_BT1.split(self.micro_batch or len(window_BT1))
        if len(parts) == 1:
            losses = self._losses(window_BT1)
            losses.objective.backward()
            return losses
        loss, objective = torch.zeros(2, device=window_BT1.device)
        for part in parts:
            losses, weight = self._losses(part), len(part) / len(window_BT1)
            (losses.objective * weight).backward()
            loss, objective = loss + losses.loss.detach() * weight, objective + losses.objective.detach() * weight
        return Losses(loss, objective, [])

    def _losses(self, window_BT1: Tensor) -> Losses:
        with autocast(self._setting):
            return self._model.training_losses(window_BT1)

    def _halve(self, sequences: int, error: BaseException) -> None:
        tried = min(self.micro_batch or sequences, sequences)
        if self._model.candidate.mixture is not None:
            raise OutOfMemory(
                f"out of memory with {tried} sequences ({first_line(error)}); the routers of a mixture balance whole "
                "batches, so give it a smaller batch, or a larger part of a GPU"
            ) from None
        if tried == 1:
            raise OutOfMemory(
                f"out of memory with one sequence at a time ({first_line(error)}); "
                "give the trial a larger part of a GPU"
            ) from None
        self.micro_batch = (tried + 1) // 2


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out: a GPU's, a library's on it, or this machine's."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    signs = ("out of memory", "can't allocate memory", "CUBLAS_STATUS_ALLOC_FAILED")
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in signs)


def first_line(error: BaseException) -> str:
    """What an error says, without the advice that follows."""
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
