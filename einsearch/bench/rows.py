"""Results as flat records: what tables, JSON and figures are made of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from einsearch.bench.cases import DENSE, LINEAR, Way, ways
from einsearch.bench.layer import PASSES, CaseTimes, Passes
from einsearch.bench.roofline import Roofline
from einsearch.bench.work import smallest_dimension
from einsearch.space.einsum import write_number
from einsearch.space.operator import Operator
from einsearch.space.parse import parse
from einsearch.space.taxonomy import taxonomy


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A layer at one width. sizes: its indices, as `a32 g32`. nu: its compute intensity, as text.

    smallest: the smallest dimension of its matrix products.
    """

    text: str
    sizes: str
    nu: str
    smallest: int

    @classmethod
    def of(cls, text: str, operator: Operator, tokens: int) -> Layer:
        nu = write_number(taxonomy(parse(text)).nu)
        return cls(text=text, sizes=str(operator), nu=nu, smallest=smallest_dimension(operator, tokens))


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """What a way came to. milliseconds: the median; spread: half of the range of the middle half, in milliseconds.

    flops, bytes_moved, bytes_least: of one call, as :class:`einsearch.bench.work.Work` counts them. roofline_fraction:
    the least time by the roofline over the median. speedup: times as fast as nn.Linear, the median over rounds.
    relative_flops_per_second: FLOP/s over those of nn.Linear. seconds: of every round.
    """

    milliseconds: float
    spread: float
    flops: int
    bytes_moved: int
    bytes_least: int
    flops_per_second: float
    bytes_per_second: float
    roofline_fraction: float
    speedup: float
    relative_flops_per_second: float
    seconds: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One way of one layer, or of dense (`layer` is None), in one case: its speed, or why it has none."""

    layer: Layer | None
    d: int
    tokens: int
    way: Way
    passes: Passes
    speed: Speed | None
    refused: str | None = None


def rows_of(results: Iterable[CaseTimes], roofline: Roofline, implementations: Iterable[str]) -> Iterator[Row]:
    """Rows case by case: dense, then the layers, each with its passes in turn."""
    names = tuple(implementations)
    for result in results:
        case = result.case
        for way in (LINEAR, DENSE):
            for passes in PASSES:
                speed = _speed(result, None, way, passes, roofline)
                yield Row(layer=None, d=case.d, tokens=case.tokens, way=way, passes=passes, speed=speed)
        for text, operator in case.operators().items():
            layer = Layer.of(text, operator, case.tokens)
            for way in ways(names):
                for passes in PASSES:
                    yield Row(
                        layer=layer,
                        d=case.d,
                        tokens=case.tokens,
                        way=way,
                        passes=passes,
                        speed=_speed(result, text, way, passes, roofline),
                        refused=result.refused.get((text, way)),
                    )


def _speed(result: CaseTimes, layer: str | None, way: Way, passes: Passes, roofline: Roofline) -> Speed | None:
    timed = result.of(layer, way, passes)
    if timed is None:
        return None
    base = result.base[passes]
    work, seconds = timed.work, timed.times.median
    speedup = timed.times.speedup(base.times)
    return Speed(
        milliseconds=1e3 * seconds,
        spread=1e3 * timed.times.spread,
        flops=work.flops,
        bytes_moved=work.moved,
        bytes_least=work.least,
        flops_per_second=work.flops / seconds,
        bytes_per_second=work.moved / seconds,
        roofline_fraction=roofline.seconds(work) / seconds,
        speedup=speedup,
        relative_flops_per_second=speedup * work.flops / base.work.flops,
        seconds=timed.times.seconds,
    )
