"""Tables within 100 columns: every way has its numbers, or a sign and the reason."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from einsearch.bench.table import (
    TRANSPOSED,
    footnotes,
    layer_tables,
    number,
    slower_than_dense,
    structure_tables,
)

from .samples import BTT, MERGED, THIN, rows


def printed(tables, width: int = 100) -> list[str]:
    out = Console(file=io.StringIO(), width=width, highlight=False)
    for table in tables:
        out.print(table)
    return [line.rstrip() for line in out.file.getvalue().splitlines()]


def test_a_layer():
    lines = printed(layer_tables(rows(BTT)))
    assert lines[0] == "btt, d = 1,024 (a32 g32 e32 f32), 4,096 tokens"
    assert lines[1].split() == ["activations", "ms", "±", "GFLOP/s", "GB/s", "roofline", "speed-up", "of", "dense"]
    assert lines[2] == "forward"
    assert lines[3].split() == ["nn.Linear", "row-major", "8.00", "0.100", "125", "0.125", "0.25", "1.00", "0.50"]
    assert lines[5].split() == ["merged", "feature-major", "2.00", "0.100", "500", "0.500", "0.25", "4.00", "0.50"]
    assert lines[6].split()[:2] == ["feature-major", "row-major*"]
    assert lines[7].split() == ["triton", "row-major", *"-------"]
    assert lines[8] == "forward + backward"
    assert len(lines) == 14
    assert max(map(len, lines)) <= 100


def test_every_layer_has_its_table():
    assert sum("4,096 tokens" in line for line in printed(layer_tables(rows(BTT, THIN)))) == 2


def test_footnotes_name_reasons_once():
    """And the layers that they are of, where others have no such reason."""
    assert footnotes(rows(BTT, THIN)) == [TRANSPOSED, "- triton: it needs a GPU"]
    assert footnotes(rows(BTT)) == [TRANSPOSED, "- triton: it needs a GPU (btt)"]
    some = [replace(row, refused=None) if row.layer == BTT else row for row in rows(BTT, THIN)]
    assert footnotes(some) == [TRANSPOSED, f"- triton: it needs a GPU ({THIN.text})"]
    assert footnotes(row for row in rows(BTT) if row.way == MERGED) == []


@pytest.mark.parametrize("width", [80, 100])
def test_all_structures_fit(width):
    lines = printed(structure_tables(rows(BTT, THIN)), width)
    text = " ".join(" ".join(lines).split())
    assert "Times as fast as nn.Linear (8.00 ± 0.100 ms)" in text
    row = next(line for line in lines if line.startswith("btt"))
    assert row.split() == ["btt", "0.5", "32", "4.00", "0.50", "-"]
    assert max(map(len, lines)) <= width


def test_what_is_slower_than_dense():
    assert slower_than_dense(rows(BTT, THIN)) == [
        "all of m, n and k at least 16: 0 of 1 slower than nn.Linear by every way",
        "one of m, n and k below 16: 0 of 1 slower than nn.Linear by every way",
    ]
    assert slower_than_dense(rows(BTT, best=0.9))[0] == (
        "all of m, n and k at least 16: 1 of 1 slower than nn.Linear by every way: btt at d 1,024 (0.90)"
    )


def test_numbers():
    assert [number(value) for value in (0.01234, 1.234, 12.34, 123.4, 1234.5)] == [
        "0.012",
        "1.23",
        "12.3",
        "123",
        "1,234",
    ]
