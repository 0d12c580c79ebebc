"""Single layers: the implementations of each side by side with dense, checked and then timed in turn."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from einsearch.bench.agreement import TOLERANCE, require_agreement
from einsearch.bench.cases import DENSE, LINEAR, Case, Way, ways
from einsearch.bench.place import Place
from einsearch.bench.timing import Times, clock_of, interleaved
from einsearch.bench.work import Work, dense_work, merged_work, planned_work
from einsearch.errors import EinsearchError
from einsearch.layers.implementations import IMPLEMENTATIONS
from einsearch.layers.linear import EinsumLinear
from einsearch.space.operator import Operator

Passes = Literal["forward", "forward + backward"]
"""What one call does; `forward` is without autograd."""

PASSES: tuple[Passes, ...] = get_args(Passes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """One way of one layer in one case: layer None is dense."""

    layer: str | None
    way: Way
    passes: Passes
    times: Times
    work: Work


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseTimes:
    """A case's results. refused: why a way cannot compute a layer here."""

    case: Case
    timed: tuple[Timed, ...]
    refused: dict[tuple[str, Way], str]

    def of(self, layer: str | None, way: Way, passes: Passes) -> Timed | None:
        """One result, or None where the way was refused."""
        key = layer, way, passes
        return next((each for each in self.timed if (each.layer, each.way, each.passes) == key), None)

    @property
    def base(self) -> dict[Passes, Timed]:
        """nn.Linear."""
        return {each.passes: each for each in self.timed if each.way == LINEAR}


def refusals(case: Case, place: Place, implementations: Sequence[str]) -> dict[tuple[str, Way], str]:
    """Why implementations cannot compute layers of a case at a place."""
    return {
        (layer, way): reason
        for layer, operator in case.operators().items()
        for way in ways(implementations)
        if (reason := IMPLEMENTATIONS[way.implementation].refuses(operator, place.device, place.dtype))
    }


def time_case(case: Case, place: Place, implementations: Sequence[str], repeats: int | None = None) -> CaseTimes:
    """Check every way of every layer against the reference, then time all of them, within :meth:`Place.settled`.

    Raises EinsearchError where memory is short or a way computes something else than the reference.
    """
    case.require_memory(place)
    refused = refusals(case, place, implementations)
    try:
        subjects = _checked_subjects(case, place, implementations, refused)
        clock = clock_of(place.device)
        timed = []
        for passes in PASSES:
            runs = {n: subject.run(passes) for n, subject in enumerate(subjects)}
            for n, times in interleaved(runs, clock, repeats).items():
                subject = subjects[n]
                work = subject.work(case, place, passes)
                timed.append(Timed(layer=subject.layer, way=subject.way, passes=passes, times=times, work=work))
    except torch.OutOfMemoryError as error:
        raise EinsearchError(
            f"d {case.d} with {case.tokens} tokens does not fit into the memory of {place.device}; give a smaller d or "
            "fewer tokens"
        ) from error
    return CaseTimes(case=case, timed=tuple(timed), refused=refused)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Subject:
    """A layer in one way, on activations that lie as the way wants: x and the gradient of y."""

    layer: str | None
    operator: Operator | None
    way: Way
    module: nn.Module
    call: Callable[[Tensor], Tensor]
    x: Tensor
    gradient: Tensor

    def run(self, passes: Passes) -> Callable[[], object]:
        return self.forward if passes == "forward" else self.both

    @torch.no_grad()
    def forward(self) -> Tensor:
        return self.call(self.x)

    def both(self) -> tuple[Tensor, ...]:
        return torch.autograd.grad(self.call(self.x), (self.x, *self.module.parameters()), self.gradient)

    def tensors(self) -> dict[str, Tensor]:
        """y and all gradients by name, those of activations as (tokens, features)."""
        names = [f"gradient of {name}" for name, _ in self.module.named_parameters()]
        found = {"y": self.forward()} | dict(zip(["gradient of x", *names], self.both(), strict=True))
        if self.way.activations == "feature-major":
            found |= {name: found[name].t() for name in ("y", "gradient of x")}
        return found

    def work(self, case: Case, place: Place, passes: Passes) -> Work:
        backward = passes != "forward"
        if self.operator is None:
            return dense_work(case.d, case.d, case.tokens, place.dtype.itemsize, backward=backward)
        count = merged_work if self.way.implementation == "merged" else planned_work
        return count(self.operator, case.tokens, place.dtype.itemsize, backward=backward)


class _WTimesX:
    """W X of a linear layer for X (features, tokens)."""

    def __init__(self, module: nn.Module) -> None:
        assert isinstance(module, nn.Linear)
        self._linear = module

    def __call__(self, x: Tensor) -> Tensor:
        return self._linear.weight @ x


class _Activations:
    """x and the gradient of y of a case in both layouts, the same for all ways."""

    def __init__(self, case: Case, place: Place) -> None:
        generator = torch.Generator().manual_seed(0)
        shape = case.tokens, case.d
        rows = [torch.randn(shape, generator=generator).to(place.device, place.dtype) for _ in range(2)]
        self._of = {"row-major": rows, "feature-major": [each.t().contiguous() for each in rows]}

    def subject(self, layer: str | None, operator: Operator | None, way: Way, module: nn.Module) -> _Subject:
        x, gradient = self._of[way.activations]
        call: Callable[[Tensor], Tensor] = module
        if way.activations == "feature-major":
            call = module.feature_major if isinstance(module, EinsumLinear) else _WTimesX(module)
        x = x.detach().requires_grad_()
        return _Subject(layer=layer, operator=operator, way=way, module=module, call=call, x=x, gradient=gradient)

    def in_float32(self, module: nn.Module) -> dict[str, Tensor]:
        """What a layer computes on row-major activations in float32, from the same numbers."""
        x, gradient = (each.float() for each in self._of["row-major"])
        x.requires_grad_()
        return _Subject(
            layer=None, operator=None, way=LINEAR, module=module, call=module, x=x, gradient=gradient
        ).tensors()


def _checked_subjects(
    case: Case, place: Place, implementations: Sequence[str], refused: dict[tuple[str, Way], str]
) -> list[_Subject]:
    activations = _Activations(case, place)
    found = []
    for layer, operator, chosen in _planned(case, implementations, refused):
        expected = activations.in_float32(_module(layer, case.d, place, "reference").float())
        for way in chosen:
            module = _module(layer, case.d, place, way.implementation)
            subject = activations.subject(layer, operator, way, module)
            who = f"{way} of {layer or 'dense'} at d {case.d}, {case.tokens} tokens"
            require_agreement(who, subject.tensors(), expected, TOLERANCE[place.dtype])
            found.append(subject)
    return found


def _planned(
    case: Case, implementations: Sequence[str], refused: dict[tuple[str, Way], str]
) -> Iterator[tuple[str | None, Operator | None, list[Way]]]:
    """Dense, then every layer with the ways that compute it."""
    yield None, None, [LINEAR, DENSE]
    for layer, operator in case.operators().items():
        yield layer, operator, [way for way in ways(implementations) if (layer, way) not in refused]


def _module(layer: str | None, d: int, place: Place, implementation: str) -> nn.Module:
    """A layer without bias and normalization: the product alone. The same numbers for every implementation."""
    generator = torch.Generator().manual_seed(1)
    if layer is not None:
        einsum = EinsumLinear(
            d, d, layer, bias=False, normalize=False, implementation=implementation, generator=generator
        )
        return einsum.to(place.device, place.dtype)
    linear = nn.Linear(d, d, bias=False)
    with torch.no_grad():
        linear.weight.normal_(0.0, d**-0.5, generator=generator)
    return linear.to(place.device, place.dtype)
