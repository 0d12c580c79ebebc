"""einsearch bench: a tiny real run, its files, and what is refused."""

import json
import os
import signal
from xml.etree import ElementTree

import pytest
import torch

from einsearch.bench.cases import ways
from einsearch.bench.machine import Machine
from einsearch.bench.structures import STRUCTURES
from einsearch.kernels.einsum import reference
from einsearch.layers.implementations import IMPLEMENTATIONS, Implementation
from einsearch.layers.moe_implementations import IMPLEMENTATIONS as IMPLEMENTATIONS_OF_MIXTURES

TINY = ("--quick", "--repeats", 1)


def test_a_tiny_run_with_its_files(cli, tmp_path):
    answer = cli("bench", *TINY, "--layer", "btt(1/4)", "--d", 16, "--d", 20, "--json", "a.json", "--figure", "a.svg")
    assert (answer.code, answer.err) == (0, "")
    lines = answer.out.splitlines()
    assert "cores, load" in lines[0]
    assert lines[1] == "CPU, 1 thread, float32; freed memory is kept, as in trials"
    assert lines[2].startswith("Measured here: ")
    assert "Quick: the sizes are too small" in answer.out
    for title in ("btt(1/4), d = 16 (", "btt(1/4), d = 20 ("):
        assert sum(line.startswith(title) for line in lines) == 1
    assert "* transposed before and after" in answer.out
    assert lines[-2:] == ["Results: a.json", "Figure: a.svg"]
    ElementTree.parse(tmp_path / "a.svg")

    document = json.loads((tmp_path / "a.json").read_text())
    assert document["command"].startswith("einsearch bench --quick --repeats 1 --layer 'btt(1/4)'")
    assert (document["device"], document["dtype"], document["threads"]) == ("cpu", "float32", 1)
    assert document["keep_memory"] is True
    assert document["machine"]["versions"]["torch"] == torch.__version__
    assert document["roofline"]["flops_per_second"] > 0
    rows = document["rows"]
    assert len(rows) == 2 * 2 * (2 + len(ways(IMPLEMENTATIONS)))
    for row in rows:
        assert (row["speed"] is None) == (row["refused"] is not None)
    reference_row = next(row for row in rows if row["way"]["implementation"] == "reference")
    assert reference_row["layer"]["text"] == "btt(1/4)"
    assert len(reference_row["speed"]["seconds"]) == 1


def test_what_cannot_run_here_has_a_sign_and_its_reason(cli, monkeypatch):
    picky = Implementation(row_major=reference.einsum_linear, refuses=lambda *_: "it needs another machine")
    monkeypatch.setitem(IMPLEMENTATIONS, "picky", picky)
    answer = cli("bench", *TINY, "--d", 16)
    assert answer.code == 0
    assert [line.split() for line in answer.out.splitlines() if "picky" in line] == [
        *[["picky", "row-major", *"-------"]] * 2,
        ["-", "picky:", "it", "needs", "another", "machine", "(btt)"],
    ]
    refused = cli("bench", *TINY, "--d", 16, "--implementation", "picky")
    assert (refused.code, refused.out) == (2, "")
    assert refused.err == (
        "einsearch: implementation picky cannot run btt at d 16: it needs another machine; leave it out\n"
    )


def test_a_wrong_implementation_is_refused(cli, monkeypatch, tmp_path):
    wrong = Implementation(row_major=lambda x, factors, operator: -reference.einsum_linear(x, factors, operator))
    monkeypatch.setitem(IMPLEMENTATIONS, "wrong", wrong)
    answer = cli("bench", *TINY, "--d", 16, "--json", "a.json")
    assert answer.code == 2
    assert answer.err.startswith("einsearch: wrong, row-major of btt at d 16, 64 tokens computes something else than ")
    assert answer.err.count("\n") == 1
    assert os.listdir(tmp_path) == []


def test_all_structures(cli):
    answer = cli("bench", *TINY, "--layer", "all", "--d", 16, "--tokens", 8, "--implementation", "feature-major")
    assert (answer.code, answer.err) == (0, "")
    assert "Times as fast as nn.Linear" in answer.out
    for text in STRUCTURES:
        assert any(line.startswith(text) for line in answer.out.splitlines()), text
    assert f"of {len(STRUCTURES)} slower than nn.Linear" in answer.out


def test_steps_with_their_files(cli, tmp_path):
    answer = cli("bench", "--step", *TINY, "--implementation", "merged", "--json", "a.json", "--figure", "a.png")
    assert (answer.code, answer.err) == (0, "")
    assert "Training step, width 16, eager" in answer.out
    assert "compile" not in answer.out
    rows = json.loads((tmp_path / "a.json").read_text())["rows"]
    assert [(row["layer"], row["activations"], row["mode"]) for row in rows] == [
        (layer, activations, "eager") for layer in (None, "btt") for activations in ("row-major", "feature-major")
    ]
    assert (tmp_path / "a.png").stat().st_size > 10_000


def test_without_a_compiler_that_is_said(cli, monkeypatch):
    monkeypatch.setenv("CXX", "/no/compiler")
    assert Machine.of(torch.device("cpu")).compiler is None
    answer = cli("bench", "--step", *TINY, "--compile", "--implementation", "reference")
    assert (answer.code, answer.err) == (0, "")
    assert "Without torch.compile: there is no C++ compiler here (CXX may name one)." in answer.out
    assert "compiled" not in answer.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--d", 0), "d is 0; it must be at least 1"),
        (("--tokens", -1), "tokens is -1; it must be at least 1"),
        (("--repeats", 0), "repeats is 0; it must be at least 1"),
        (("--layer", "nonsense"), "unknown structure 'nonsense'; give a family (dense, low-rank"),
        (("--layer", "ag,agf,gef->ef"), "no exponent for index"),
        (("--implementation", "fast"), "unknown implementation 'fast'; known: reference, feature-major, merged"),
        (("--dtype", "float8"), "unknown dtype 'float8'; known: float32, bfloat16, float16"),
        (("--device", "tpu"), "unknown device 'tpu'; known: auto, cpu, cuda"),
        (("--threads", 0), "threads is 0; give 1 to "),
        (("--threads", 10_000), "threads is 10000; give 1 to "),
        (("--d", 10**18), "d 1000000000000000000 with 64 tokens needs about "),
        (("--figure", "a.gif"), "figure a.gif has the suffix '.gif'; write one of FILE.svg, FILE.png, FILE.html"),
        (("--figure", "no/a.svg"), "cannot write the figure to no/a.svg: there is no folder no; make it first"),
        (("--json", "no/a.json"), "cannot write the results to no/a.json: there is no folder no; make it first"),
        (("--json", "."), "cannot write the results to .: it is a folder; give a file"),
        (("--width", 64), "--width is of models; give --step too"),
        (("--compile",), "--compile is of models; give --step too"),
        (("--step", "--d", 64), "--d is of single layers; with --step give --width"),
        (("--step", "--tokens", 64), "--tokens is of single layers; with --step give --width"),
        (("--step", "--width", 17), "width 17 is not divisible by head size 16"),
        (("--step", "--width", -16), "width is -16; it must be a positive integer"),
        (("--step", "--dtype", "float16"), "dtype float16 is not one that models train in; give float32 or bfloat16"),
    ],
)
def test_what_is_refused(cli, tmp_path, arguments, message):
    answer = cli("bench", *TINY, *arguments)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith("einsearch: ")
    assert answer.err.count("\n") == 1
    assert message in answer.err
    assert os.listdir(tmp_path) == []


def test_a_gpu_that_is_not_there(cli, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    answer = cli("bench", *TINY, "--device", "cuda")
    assert (answer.code, answer.out) == (2, "")
    assert answer.err == "einsearch: device cuda was asked for, but torch sees no GPU; use --device cpu\n"


def test_ctrl_c_ends_it_at_once_and_writes_nothing(start, tmp_path):
    process = start(
        "bench", "--d", 64, "--tokens", 64, "--repeats", 10**7, "--implementation", "merged", "--json", "a.json"
    )
    assert process.stdout.readline()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err == ""
    assert "Results" not in out
    assert os.listdir(tmp_path) == []


def test_mixtures_side_by_side(cli, tmp_path):
    answer = cli("bench", *TINY, "--d", 16, "--experts", 2, "--experts", 4, "--json", "a.json", "--figure", "a.svg")
    assert (answer.code, answer.err) == (0, "")
    assert "btt, 2 active, d = 16, 64 tokens" in answer.out
    assert "- triton: the btt_moe kernel runs on a CUDA device" in " ".join(answer.out.split())
    rows = json.loads((tmp_path / "a.json").read_text())["rows"]
    assert {(row["implementation"], row["experts"]) for row in rows} == {
        (None, None),
        *((name, experts) for name in IMPLEMENTATIONS_OF_MIXTURES if name != "triton" for experts in (2, 4)),
    }
    ElementTree.parse(tmp_path / "a.svg")


def test_options_of_mixtures_are_refused_elsewhere(cli):
    for arguments, message in (
        (("--active", 1), "--active is of mixtures; give --experts too"),
        (("--active", 0), "--active is of mixtures; give --experts too"),
        (("--experts", 2, "--active", 0), "active of a mixture is 0; it must be an integer of at least 1"),
        (("--experts", 2, "--implementation", "fast"), "unknown implementation 'fast'; known: reference, grouped, "),
        (("--step", "--experts", 4), "--experts is of single layers; with --step give --width"),
        (("--experts", 1), "experts of a mixture is 1; it must be an integer of at least 2"),
        (("--experts", 2, "--implementation", "triton"), "implementation triton cannot run btt: "),
    ):
        answer = cli("bench", *TINY, *arguments)
        assert (answer.code, answer.out) == (2, "")
        assert answer.err.startswith(f"einsearch: {message}")
