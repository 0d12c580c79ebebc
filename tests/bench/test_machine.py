"""The machine that is written beside the numbers."""

import shutil
from dataclasses import replace

import torch

from einsearch.bench import machine
from einsearch.bench.machine import Machine, processor_name


def test_this_machine():
    here = Machine.of(torch.device("cpu"))
    assert here.versions["torch"] == torch.__version__
    assert here.gpu is None
    assert here.cores >= 1
    assert f"{here.cores} cores" in str(here)
    assert replace(here, load=0.1).busy is False
    assert replace(here, load=2.0).busy is True
    assert str(replace(here, gpu="A GPU")).startswith("A GPU; ")


def test_the_processor_is_the_model_that_the_system_names(tmp_path):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nmodel name\t: Some CPU @ 3 GHz: fast\nmodel name\t: another\n")
    assert processor_name(cpuinfo) == "Some CPU @ 3 GHz: fast"
    assert processor_name(tmp_path / "none")


def test_the_compiler_is_the_one_that_the_environment_names(monkeypatch, tmp_path):
    monkeypatch.setenv("CXX", str(tmp_path / "no-compiler"))
    assert machine.compiler() is None
    monkeypatch.setenv("CXX", "sh")
    assert machine.compiler() == shutil.which("sh")
