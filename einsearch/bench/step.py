"""Whole training steps of the proxy model: structures against dense, eager and compiled, timed in turn."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from einsearch.bench.agreement import TOLERANCE, require_agreement, root_mean_square
from einsearch.bench.place import Place
from einsearch.bench.timing import Times, clock_of, interleaved
from einsearch.errors import EinsearchError
from einsearch.layers.implementations import IMPLEMENTATIONS, Activations
from einsearch.proxy.activations import OPERATIONS
from einsearch.proxy.device import autocast, compute_dtype
from einsearch.proxy.gpt2 import ProxyGPT2
from einsearch.proxy.optimizer import clip_gradients, optimizer_of
from einsearch.proxy.protocol import Protocol, Setting
from einsearch.proxy.vocabulary import VOCABULARY_SIZE
from einsearch.space.candidate import Candidate
from einsearch.space.model_shape import ModelShape
from einsearch.space.parse import parse

Mode = Literal["eager", "compiled"]

_SMALL = 0.1
"""A gradient that is smaller than the model's by more than this is compared with the model's."""

_VARIANTS = 10_000

_DEEP = 3
"""Errors of the layers of a model add up: so many times the tolerance of one layer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepCase:
    """Models of one width in one mode. layers: texts of their structures; dense is added.

    implementations: of their linear layers; `auto` is the fastest as measured on this machine, which trials use.
    """

    layers: tuple[str, ...]
    width: int
    mode: Mode = "eager"
    implementations: tuple[str, ...] = ("auto",)
    protocol: Protocol = field(default_factory=Protocol)

    def candidate(self, layer: str | None) -> Candidate:
        """The model of a layer, of dense for None. Raises EinsearchError where it cannot be trained."""
        shape = ModelShape(width=self.width)
        candidate = Candidate.dense(shape) if layer is None else Candidate.of(parse(layer), shape)
        if reason := candidate.invalid_because():
            raise EinsearchError(f"structure {layer} cannot be trained at width {self.width}: {reason}")
        return candidate

    def require_valid(self, place: Place) -> None:
        """EinsearchError for what cannot be trained, or not by one of the implementations, at a place."""
        precision(place)
        for layer in self.layers:
            operators = set(self.candidate(layer).layers().values())
            for name in self.implementations:
                refuses = IMPLEMENTATIONS[name].refuses if name != "auto" else None
                for each in operators if refuses else ():
                    if refuses and (reason := refuses(each, place.device, place.dtype)):
                        raise EinsearchError(f"implementation {name} cannot run {layer}: {reason}; leave it out")


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedStep:
    """One model: layer None is dense. runs: what its linear layers ran. compile_seconds: of the first pass."""

    layer: str | None
    implementation: str
    activations: Activations
    runs: tuple[str, ...]
    times: Times
    compile_seconds: float | None


def precision(place: Place) -> str:
    """What trials call this place's dtype. Raises EinsearchError where they do not train in it."""
    if place.dtype not in (torch.float32, torch.bfloat16):
        raise EinsearchError(f"dtype {place.dtype_name} is not one that models train in; give float32 or bfloat16")
    return place.dtype_name


def time_steps(case: StepCase, place: Place, repeats: int | None = None) -> list[TimedStep]:
    """Check loss and gradients of every model against the reference, then time steps, within :meth:`Place.settled`.

    Raises EinsearchError where a model cannot be trained or computes something else than the reference.
    """
    case.require_valid(place)
    with _as_trials_run(), _compiler(case.mode):
        trainees = list(_checked_trainees(case, place))
        runs = {n: trainee.step for n, trainee in enumerate(trainees)}
        timed = interleaved(runs, clock_of(place.device), repeats)
        return [
            TimedStep(
                layer=trainee.layer,
                implementation=trainee.implementation,
                activations=trainee.activations,
                runs=trainee.model.implementations_on(place.device),
                times=timed[n],
                compile_seconds=trainee.compile_seconds,
            )
            for n, trainee in enumerate(trainees)
        ]


class _Trainee:
    """A model, its optimizer and a batch; the first loss of a compiled model compiles it."""

    def __init__(
        self, case: StepCase, place: Place, layer: str | None, implementation: str, activations: Activations, mode: Mode
    ) -> None:
        self.layer, self.implementation, self.activations = layer, implementation, activations
        self.compile_seconds: float | None = None
        self.setting = _setting(case.protocol, place)
        self.model = ProxyGPT2(case.candidate(layer), case.protocol, 0, implementation, activations)
        _leave_zero(self.model)
        self.model.to(place.device)
        if implementation == "auto":
            chosen = self.model.fastest_implementations(place.device, compute_dtype(self.setting))
            self.model.use_implementations(chosen)
        self.optimizer = optimizer_of(self.model, self.setting)
        shape = case.protocol.batch, case.protocol.context + 1
        symbols = torch.randint(VOCABULARY_SIZE, shape, generator=torch.Generator().manual_seed(0))
        self.window = symbols.to(place.device)
        self.loss: Callable[[Tensor], Tensor] = self.model.loss
        if mode == "compiled":
            self.loss = torch.compile(self.model.loss, dynamic=False)

    def step(self) -> None:
        """As :func:`einsearch.proxy.trainer.train_segment`."""
        with autocast(self.setting):
            loss = self.loss(self.window)
        loss.backward()
        clip_gradients(self.model, self.optimizer, self.setting.protocol)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def tensors(self) -> dict[str, Tensor]:
        """The loss and all gradients by name."""
        with autocast(self.setting):
            loss = self.loss(self.window)
        loss.backward()
        found = {"loss": loss.detach()}
        for name, parameter in self.model.named_parameters():
            assert parameter.grad is not None
            found[f"gradient of {name}"] = parameter.grad
        self.optimizer.zero_grad(set_to_none=True)
        return found


def _checked_trainees(case: StepCase, place: Place) -> Iterator[_Trainee]:
    for layer in (None, *case.layers):
        expected = _Trainee(case, place, layer, "reference", "row-major", "eager").tensors()
        floor = _SMALL * root_mean_square(torch.cat([each.float().flatten() for each in expected.values()]))
        for implementation in ("auto",) if layer is None else case.implementations:
            for activations in OPERATIONS:
                trainee = _Trainee(case, place, layer, implementation, activations, case.mode)
                began = time.perf_counter()
                found = trainee.tensors()
                first = time.perf_counter() - began
                who = f"{implementation}, {activations}, {case.mode} of {layer or 'dense'} at width {case.width}"
                require_agreement(who, found, expected, _DEEP * TOLERANCE[place.dtype], floor)
                if case.mode == "compiled":
                    began = time.perf_counter()
                    trainee.tensors()
                    trainee.compile_seconds = first - (time.perf_counter() - began)
                yield trainee


def _setting(protocol: Protocol, place: Place) -> Setting:
    return Setting(
        protocol=protocol,
        code="bench",
        data_name="random symbols",
        data_hash="",
        torch=torch.__version__,
        device=place.device.type,
        precision=precision(place),
    )


@torch.no_grad()
def _leave_zero(model: ProxyGPT2) -> None:
    """Draw what starts at zero: else the first loss and most gradients are those of any model."""
    generator = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        if not parameter.any():
            parameter.normal_(0.0, 0.02, generator=generator)


@contextmanager
def _as_trials_run() -> Iterator[None]:
    """Deterministic operations, as :func:`einsearch.proxy.device.prepare` wants them."""
    mode = torch.get_deterministic_debug_mode()
    filled = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    torch.set_deterministic_debug_mode("error")
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    try:
        yield
    finally:
        torch.set_deterministic_debug_mode(mode)
        torch.utils.deterministic.fill_uninitialized_memory = filled  # type: ignore[attr-defined]


@contextmanager
def _compiler(mode: Mode) -> Iterator[None]:
    """torch.compile with an empty memory and an empty cache on disk, so that its seconds are those of a first start.

    Every layer of every model is one more variant of the same function; past a limit torch would run it uncompiled.
    """
    if mode == "eager":
        yield
        return
    import torch._dynamo  # only here: it takes seconds to import
    from torch._inductor.utils import clear_caches

    torch._dynamo.reset()
    clear_caches()
    dynamo = torch._dynamo.config.patch(recompile_limit=_VARIANTS, accumulated_recompile_limit=_VARIANTS)
    names = ("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR")
    before = {name: os.environ.get(name) for name in names}
    with dynamo, tempfile.TemporaryDirectory(prefix="einsearch-bench-", ignore_cleanup_errors=True) as folder:
        os.environ.update(dict.fromkeys(names, folder))
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value
    torch._dynamo.reset()
    clear_caches()
