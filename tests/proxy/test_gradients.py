"""Gradients part by part are those of the whole batch, and parts get smaller until they fit."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from einsearch.errors import EinsearchError
from einsearch.proxy.corpus import Corpus, load_corpus
from einsearch.proxy.device import setting_for
from einsearch.proxy.gpt2 import Losses, ProxyGPT2
from einsearch.proxy.gradients import Gradients, OutOfMemory, is_out_of_memory
from einsearch.proxy.protocol import Protocol, Setting
from einsearch.proxy.trainer import Segment, train_segment
from einsearch.search.worker import Worker
from einsearch.space.candidate import Candidate, ModelShape
from einsearch.space.mixture import Mixture
from einsearch.space.parse import parse

CPU = torch.device("cpu")
SHAPE = ModelShape(width=16, depth=1, head_size=8)
BTT = Candidate.of(parse("btt"), SHAPE)
PROTOCOL = Protocol(context=16, batch=8, warmup_steps=2, validation_sequences=6)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    folder = tmp_path_factory.mktemp("text")
    for n in range(3):
        (folder / f"{n}.txt").write_text(f"number {n} of some words " * 100)
    return load_corpus(folder, tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def setting(corpus: Corpus) -> Setting:
    return setting_for(PROTOCOL, corpus, CPU)


@pytest.fixture
def model() -> ProxyGPT2:
    made = ProxyGPT2(BTT, PROTOCOL, seed=1)
    with torch.no_grad():
        made.head.weight.normal_(std=0.1, generator=torch.Generator().manual_seed(0))
    return made


def windows(count: int = 8) -> Tensor:
    return torch.randint(96, (count, 17), generator=torch.Generator().manual_seed(2))


def gradients_of(model: ProxyGPT2) -> dict[str, Tensor]:
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.fixture
def limit(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], list[int]]:
    """Makes memory end at so many sequences: after the forward pass, when gradients of other parts may be there."""

    whole = ProxyGPT2.training_losses

    def of(sequences: int) -> list[int]:
        tried: list[int] = []

        def losses(model: ProxyGPT2, window: Tensor) -> Losses:
            found = whole(model, window)
            if not torch.is_grad_enabled():
                return found  # the validation
            tried.append(len(window))
            if len(window) > sequences:
                found.objective.backward()
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.\nAdvice")
            return found

        monkeypatch.setattr(ProxyGPT2, "training_losses", losses)
        return tried

    return of


@pytest.mark.parametrize("micro_batch", [1, 2, 3, 4, 8, 100])
def test_parts_give_the_gradients_of_the_whole(model: ProxyGPT2, setting: Setting, micro_batch: int) -> None:
    model.training_losses(windows()).objective.backward()
    whole = gradients_of(model)
    model.zero_grad()
    found = Gradients(model, setting, micro_batch).add(windows())
    torch.testing.assert_close(found.loss, model.loss(windows()), rtol=1e-6, atol=0)
    torch.testing.assert_close(gradients_of(model), whole, rtol=1e-4, atol=1e-7)


def test_the_parts_are_halved_until_they_fit(
    model: ProxyGPT2, setting: Setting, limit: Callable[[int], list[int]]
) -> None:
    """What a failed try has added to the gradients is gone; the next batch begins with what fitted."""
    expected = Gradients(model, setting, 2)
    expected.add(windows())
    wanted = gradients_of(model)
    model.zero_grad()
    tried, gradients = limit(2), Gradients(model, setting)
    gradients.add(windows())
    assert gradients.micro_batch == 2
    assert tried == [8, 4, 2, 2, 2, 2]
    torch.testing.assert_close(gradients_of(model), wanted, rtol=0, atol=0)
    gradients.add(windows(3))
    assert tried[6:] == [2, 1]


def test_what_cannot_be_divided_says_so(model: ProxyGPT2, setting: Setting, limit: Callable[[int], list[int]]) -> None:
    tried = limit(0)
    with pytest.raises(OutOfMemory, match=r"^out of memory with one sequence at a time \(CUDA out of memory\. Tried"):
        Gradients(model, setting).add(windows(5))
    assert tried == [5, 3, 2, 1]
    routed = ProxyGPT2(Candidate.of(parse("btt"), SHAPE, Mixture(experts=4, active=2)), PROTOCOL, seed=1)
    with pytest.raises(OutOfMemory, match=r"^out of memory with 8 sequences .* balance whole batches"):
        Gradients(routed, setting).add(windows())


def test_other_errors_are_not_taken_for_it(model: ProxyGPT2, setting: Setting) -> None:
    with pytest.raises(IndexError):
        Gradients(model, setting).add(windows() + 96)
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not is_out_of_memory(ValueError("out of memory"))


def test_a_trial_goes_on_with_what_fitted(
    setting: Setting, corpus: Corpus, tmp_path: Path, limit: Callable[[int], list[int]]
) -> None:
    """Also after its checkpoint: its losses do not depend on how training is cut."""
    whole = Segment(candidate=BTT, seed=3, start=0, end=12, evaluate_at=(4, 12), folder=tmp_path / "whole")
    free = train_segment(replace(whole, folder=tmp_path / "free"), setting, corpus, CPU)
    assert free.micro_batch is None
    tried = limit(4)
    found = train_segment(whole, setting, corpus, CPU)
    assert found.micro_batch == 4
    for mine, theirs in zip(found.points, free.points, strict=True):
        assert mine.validation_loss == pytest.approx(theirs.validation_loss, rel=1e-5)
    first = replace(whole, folder=tmp_path / "cut", end=5)
    train_segment(first, setting, corpus, CPU)
    del tried[:]
    last = train_segment(replace(first, start=5, end=12), setting, corpus, CPU)
    assert set(tried) == {4}
    assert last.points[-1].train_loss == found.points[-1].train_loss


def test_a_worker_fails_only_the_trial(
    setting: Setting, corpus: Corpus, tmp_path: Path, limit: Callable[[int], list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    segment = Segment(candidate=BTT, seed=3, start=0, end=2, evaluate_at=(), folder=tmp_path)
    worker = Worker(("cpu",), setting, lambda: corpus)
    with monkeypatch.context() as patch:
        patch.setattr("einsearch.proxy.trainer.optimizer_of", lambda *_: bytearray(10**15))
        assert worker.run(segment, print) == ("error", "out of memory: MemoryError")
    limit(0)
    kind, reason = worker.run(segment, print)
    assert (kind, str(reason).partition(" (")[0]) == ("error", "out of memory with one sequence at a time")
    limit(8)
    assert worker.run(segment, print)[0] == "finished"


UNDER_A_LIMIT = """
import resource, sys
from pathlib import Path
import psutil, torch
from einsearch.proxy.device import prepare, setting_for
from einsearch.proxy.corpus import load_corpus
from einsearch.proxy.gpt2 import ProxyGPT2
from einsearch.proxy.gradients import Gradients
from einsearch.proxy.protocol import Protocol
from einsearch.space.candidate import Candidate, ModelShape
from einsearch.space.parse import parse

prepare(torch.device("cpu"))
protocol = Protocol(context=64, batch=512)
setting = setting_for(protocol, load_corpus(*map(Path, sys.argv[1:3])), torch.device("cpu"))
model = ProxyGPT2(Candidate.of(parse("dense"), ModelShape(width=32, depth=2, head_size=16)), protocol, seed=0)
windows = torch.randint(96, (512, 65))
Gradients(model, setting).add(windows[:16])
model.zero_grad()
limit = psutil.Process().memory_info().vms + 60 * 2**20
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
gradients = Gradients(model, setting)
loss = gradients.add(windows).loss
print(gradients.micro_batch, loss.item())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS")
def test_a_limit_of_the_system_is_met(corpus: Corpus, tmp_path: Path) -> None:
    (tmp_path / "text").mkdir()
    for n in range(3):
        (tmp_path / "text" / f"{n}.txt").write_text(f"number {n} of some words " * 100)
    command = [sys.executable, "-c", UNDER_A_LIMIT, str(tmp_path / "text"), str(tmp_path / "cache")]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout.split()
    assert int(said[0]) in (32, 64, 128, 256)
    assert 4 < float(said[1]) < 5


def test_errors_are_of_the_family_that_the_command_line_prints() -> None:
    assert issubclass(OutOfMemory, EinsearchError)
