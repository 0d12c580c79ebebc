"""How the pictures look: printable, and readable without colour."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK, MUTED, FAINT, PAPER, WASH = "#1b1f24", "#5f6b7a", "#c9ced6", "#ffffff", "#eef0f3"

FONT = "DejaVu Sans"
"""It comes with matplotlib."""

FONT_SIZE = 10.0
"""Points; the smallest text is 1.5 less."""


DPI = 150
"""Of a PNG."""


@dataclass(frozen=True, slots=True)
class SideStyle:
    """How the indices of one side are drawn; Okabe and Ito's colours are safe for the colour-blind."""

    colour: str
    dashes: tuple[float, ...]
    meaning: str


SIDES = (
    SideStyle("#0072B2", (), "index of x"),
    SideStyle("#C04F00", (2.6, 1.1), "index of y"),
    SideStyle("#00795A", (0.9, 0.9), "inner index"),
)
"""By `Index.side`: x, y, neither."""


@lru_cache(maxsize=4096)
def text_width(text: str, size: float = FONT_SIZE, bold: bool = False) -> float:
    """How wide a line of text is, in inches."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font = FontProperties(family=FONT, size=size, weight="bold" if bold else "normal")
    width, _, _ = text_to_path.get_text_width_height_descent(text, font, ismath=False)
    return float(width) / 72


def wrap(text: str, width: float, size: float) -> list[str]:
    """Lines of words that are at most so many inches wide."""
    lines: list[str] = []
    for word in text.split():
        if lines and text_width(f"{lines[-1]} {word}", size) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


@contextmanager
def house_style() -> Iterator[None]:
    """Matplotlib's own defaults and ours, whatever a user's matplotlibrc says, and as before afterwards."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(
            {
                "font.family": FONT,
                "font.size": FONT_SIZE,
                "text.color": INK,
                "svg.fonttype": "path",  # looks the same where that font is missing
                "svg.hashsalt": "einsearch",
                "svg.id": None,
            }
        )
        yield


def write_at(figure: Figure, x: float, y: float, text: str, **style: object) -> None:
    """Text at inches from the left and from the bottom of a figure."""
    width, height = figure.get_size_inches()
    figure.text(x / width, y / height, text, **style)  # type: ignore[arg-type]
