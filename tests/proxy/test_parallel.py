"""A trial on two processes is the trial on one, up to rounding."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from einsearch.errors import EinsearchError
from einsearch.proxy.corpus import Corpus, load_corpus
from einsearch.proxy.device import setting_for
from einsearch.proxy.parallel import train_in_parallel
from einsearch.proxy.protocol import Protocol, Setting
from einsearch.proxy.trainer import Segment, train_segment
from einsearch.space.candidate import Candidate, ModelShape
from einsearch.space.mixture import Mixture
from einsearch.space.parse import parse

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    folder = tmp_path_factory.mktemp("text")
    for n in range(3):
        (folder / f"{n}.txt").write_text(f"number {n} of some words " * 100)
    return load_corpus(folder, tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def setting(corpus: Corpus) -> Setting:
    protocol = Protocol(context=16, batch=4, validation_sequences=7, warmup_steps=2)
    return setting_for(protocol, corpus, CPU)


@pytest.fixture
def segment(tmp_path: Path) -> Segment:
    candidate = Candidate.of(parse("btt"), ModelShape(width=16, depth=1, head_size=8))
    return Segment(candidate=candidate, seed=3, start=0, end=12, evaluate_at=(4, 12), folder=tmp_path / "one")


def test_the_losses_are_those_of_one_process(segment: Segment, setting: Setting, corpus: Corpus) -> None:
    """Also from a checkpoint on, whoever wrote it."""
    one = train_segment(segment, setting, corpus, CPU)
    folder = segment.folder.with_name("two")
    first = replace(segment, folder=folder, end=5, evaluate_at=(4,))
    seen = []
    found = train_in_parallel(first, setting, corpus, [CPU, CPU], on_progress=seen.append)
    assert [progress.step for progress in seen] == [4, 5]
    assert found.checkpoint == first.checkpoint(5)
    second = replace(segment, folder=folder, start=5, evaluate_at=(12,))
    points = (*found.points, *train_in_parallel(second, setting, corpus, [CPU, CPU]).points)
    assert [point.step for point in points] == [point.step for point in one.points]
    for mine, theirs in zip(points, one.points, strict=True):
        assert mine.train_loss == pytest.approx(theirs.train_loss, rel=1e-5)
        assert mine.validation_loss == pytest.approx(theirs.validation_loss, rel=1e-5)
    alone = replace(segment, folder=folder, start=5, end=6, evaluate_at=())
    assert train_segment(alone, setting, corpus, CPU).failure is None


def test_a_stop_ends_all_processes_with_a_checkpoint(segment: Segment, setting: Setting, corpus: Corpus) -> None:
    steps = []
    found = train_in_parallel(
        replace(segment, end=10**6, evaluate_at=()),
        setting,
        corpus,
        [CPU, CPU],
        on_progress=lambda progress: steps.append(progress.step),
        should_stop=lambda: bool(steps),
    )
    assert 10 <= found.end < 10**6
    assert found.checkpoint == segment.checkpoint(found.end)


def test_what_cannot_be_divided_is_refused(segment: Segment, setting: Setting, corpus: Corpus) -> None:
    with pytest.raises(EinsearchError, match=r"^a batch of 4 sequences has no 3 equal parts; use a divisor of 4$"):
        train_in_parallel(segment, setting, corpus, [CPU] * 3)
    mixture = Mixture(experts=4, active=2)
    routed = Candidate.of(parse("btt"), ModelShape(width=16, depth=1, head_size=8), mixture)
    with pytest.raises(EinsearchError, match=r"^a mixture of experts trains on one device"):
        train_in_parallel(replace(segment, candidate=routed), setting, corpus, [CPU, CPU])


def test_what_fails_in_a_process_is_told(segment: Segment, setting: Setting, corpus: Corpus) -> None:
    with pytest.raises(EinsearchError, match="cannot be read"):
        train_in_parallel(replace(segment, start=4), setting, corpus, [CPU, CPU])
