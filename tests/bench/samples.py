"""Results that nobody measured, for tables, figures and files."""

from __future__ import annotations

from einsearch.bench.cases import DENSE, LINEAR, Way
from einsearch.bench.rows import Layer, Row, Speed
from einsearch.bench.structures import STRUCTURES

MERGED = Way(implementation="merged", activations="feature-major")
DROP_IN = Way(implementation="feature-major", activations="row-major", transposed=True)
TRITON = Way(implementation="triton", activations="row-major")


def speed(milliseconds: float, speedup: float) -> Speed:
    return Speed(
        milliseconds=milliseconds,
        spread=0.1,
        flops=10**9,
        bytes_moved=10**6,
        bytes_least=10**6,
        flops_per_second=1e12 / milliseconds,
        bytes_per_second=1e9 / milliseconds,
        roofline_fraction=0.25,
        speedup=speedup,
        relative_flops_per_second=0.5,
        seconds=(milliseconds / 1e3,),
    )


def rows(*layers: Layer, d: int = 1024, best: float = 4.0) -> list[Row]:
    found = []
    for layer, ways in [(None, (LINEAR, DENSE)), *((each, (MERGED, DROP_IN, TRITON)) for each in layers)]:
        for way in ways:
            for passes in ("forward", "forward + backward"):
                held = {LINEAR: speed(8.0, 1.0), DENSE: speed(7.5, 1.07), MERGED: speed(2.0, best)}
                held[DROP_IN] = speed(16.0, 0.5)
                refused = "it needs a GPU" if way == TRITON else None
                found.append(
                    Row(layer=layer, d=d, tokens=4096, way=way, passes=passes, speed=held.get(way), refused=refused)
                )
    return found


BTT = Layer(text="btt", sizes="a32 g32 e32 f32", nu="0.5", smallest=32)
THIN = Layer(text=max(STRUCTURES, key=len), sizes="a512 b512 c5", nu="0.25", smallest=5)
