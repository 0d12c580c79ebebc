"""`einsearch export`, loading what it wrote, and structures of trials in other models, over one study run once."""

import json
import os
import runpy
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import einsearch
from einsearch import EinsearchError, EinsumLinear, convert, export_trial, load_exported
from einsearch.own_model import structure_of
from einsearch.proxy import checkpoint
from einsearch.proxy.batches import Batches
from einsearch.proxy.corpus import load_corpus
from einsearch.proxy.gpt2 import ProxyGPT2
from einsearch.proxy.protocol import Protocol, Setting
from einsearch.proxy.trainer import validation_loss
from einsearch.search.config import read_study_file
from einsearch.search.study import Study
from einsearch.space.candidate import Candidate, ModelShape
from einsearch.space.mixture import Mixture
from einsearch.space.parse import parse
from einsearch.store import Store, TrialRow
from einsearch.trial_export import find_trial, write_export

FILES = ["README.md", "description.json", "example.py", "weights.safetensors"]


@pytest.fixture(scope="module")
def run_once(write_tiny_study: Callable[[Path], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("once")
    config = read_study_file(write_tiny_study(folder))
    store = f"sqlite:///{folder}/runs/einsearch.db"
    assert Study.open(config, store=store, runs=folder / "runs", device="cpu").run(workers=1)
    return folder


@pytest.fixture
def runs(run_once: Path, tmp_path: Path) -> Path:
    """A copy of its `runs`, where the commands look for it; the checkpoints it names lie in the original."""
    return shutil.copytree(run_once / "runs", tmp_path / "runs")


def trials(runs: Path) -> list[TrialRow]:
    with Store.open(f"sqlite:///{runs}/einsearch.db") as store:
        return store.trials(store.study("tiny").id)


@pytest.fixture
def btt(runs: Path) -> TrialRow:
    """The trial of BTT with rank above 1."""
    return next(trial for trial in trials(runs) if trial.label.startswith("BTT rank d"))


@pytest.fixture
def exported(cli: Any, btt: TrialRow, tmp_path: Path) -> Path:
    answer = cli("export", btt.key[:8], "-o", tmp_path / "out" / "btt")
    assert (answer.code, answer.err) == (0, "")
    assert answer.out == f"Export: {tmp_path / 'out' / 'btt'}\n"
    return tmp_path / "out" / "btt"


def test_what_is_written(exported: Path, btt: TrialRow) -> None:
    assert sorted(path.name for path in exported.iterdir()) == FILES
    assert [path.name for path in exported.parent.iterdir()] == ["btt"]
    described = json.loads((exported / "description.json").read_text())
    assert Candidate.from_json(described["candidate"]).key == btt.key
    assert described["label"] == btt.label
    assert parse(described["structures"]["ffn"]).canonical() == parse("btt(1/4)").canonical()
    assert described["taxonomy"] == btt.facts["taxonomy"]
    source = described["provenance"]
    assert (source["study"], source["key"], source["seed"], source["flops"]) == ("tiny", btt.key, 0, btt.flops_done)
    assert source["einsearch"] == einsearch.__version__
    assert source["setting"]["torch"] == torch.__version__
    assert sorted(described["layers"]) == sorted(f"blocks.0.{name}" for name in ("q", "k", "v", "o", "up", "down"))
    up = described["layers"]["blocks.0.up"]
    assert (up["in_features"], up["out_features"], up["parameters"]) == (
        16,
        64,
        btt.facts["layers"]["up"]["parameters"],
    )
    layer = EinsumLinear(16, 64, up["einsum"], bias=False)
    assert up["init_std"] == list(layer.std)
    assert up["learning_rate_multipliers"] == pytest.approx(layer.learning_rate_multipliers(Protocol().base_width))
    page = (exported / "README.md").read_text()
    for said in (btt.key, "| blocks.0.down | 64 to 16 |", f"{source['validation_loss']:.4f} nats", "load_exported"):
        assert said in page


def test_the_loaded_model_has_the_loss_that_was_stored(
    exported: Path, runs: Path, run_once: Path, btt: TrialRow
) -> None:
    """Without the study: its store and checkpoints are not read."""
    with Store.open(f"sqlite:///{runs}/einsearch.db") as store:
        row = store.study("tiny")
    setting = Setting.from_json(row.protocol)
    shutil.rmtree(runs)
    model = load_exported(exported)
    assert not model.training
    assert model.candidate.key == btt.key
    corpus = load_corpus(run_once / "text", exported / ".." / "cache")
    protocol = setting.protocol
    batches = Batches(corpus=corpus, context=protocol.context, batch=protocol.batch, seed=0)
    windows = torch.from_numpy(batches.validation(protocol.validation_sequences))
    stored = json.loads((exported / "description.json").read_text())["provenance"]
    assert stored["validation_loss_at_step"] == stored["step"]
    # Those that were the fastest when it was trained: others round differently.
    model.use_implementations(stored["implementations"])
    assert validation_loss(model, windows, setting) == stored["validation_loss"]


def test_the_example_runs(exported: Path, capfd: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(exported / "example.py"))
    printed = capfd.readouterr().out
    assert "'the quick brown' goes on with '" in printed
    assert "blocks.0.q: 16 to 16 with" in printed
    assert "768, 3072, (" in printed


def test_trials_of_every_kind_can_be_exported_and_their_examples_run(runs: Path, tmp_path: Path) -> None:
    for trial in trials(runs):
        folder = export_trial(trial.key, tmp_path / trial.key, runs=runs)
        model = load_exported(folder)
        fresh = ProxyGPT2(Candidate.from_json(trial.candidate), model.protocol, trial.seed)
        checkpoint.load_model(Path(str(trial.checkpoint)), fresh)
        for name, value in fresh.state_dict().items():
            assert torch.equal(model.state_dict()[name], value), name
        runpy.run_path(str(folder / "example.py"))


def test_a_mixture_of_experts(runs: Path, btt: TrialRow, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for mixture in (Mixture(experts=4, active=2), Mixture(experts=4, active=2, per="ffn")):
        candidate = Candidate.of(parse("btt"), ModelShape(width=16, depth=1, head_size=8), mixture)
        found = find_trial(btt.key, runs=runs)
        found = replace(found, trial=replace(btt, candidate=candidate.to_json(), label=candidate.label))
        wanted = ProxyGPT2(candidate, found.setting.protocol, seed=3)
        nn.init.normal_(wanted.head.weight)
        write_export(found, wanted, tmp_path / "mixture")
        model, tokens = load_exported(tmp_path / "mixture"), torch.arange(16)[None]
        assert torch.equal(model(tokens), wanted.eval()(tokens))
        assert "| 4 x " in (tmp_path / "mixture" / "README.md").read_text()
        runpy.run_path(str(tmp_path / "mixture" / "example.py"))
        assert "goes on with" in capfd.readouterr().out


def test_the_example_of_a_padded_layer_runs(tmp_path: Path) -> None:
    from einsearch.layers.export import sizes_by_letter
    from einsearch.trial_text import _plain_torch

    layer = EinsumLinear(31, 37, "kronecker", bias=False)
    sizes = layer.operator.sizes
    assert sizes.padded_in > 31
    assert sizes.padded_out > 37
    described = {
        "in_features": 31,
        "out_features": 37,
        "equation": layer.operator.einsum.structure.equation(),
        "sizes": sizes_by_letter(layer.operator),
        "padded_in": sizes.padded_in,
        "padded_out": sizes.padded_out,
        "parameters": layer.operator.parameters,
    }
    model = nn.ModuleDict({"up": layer})
    exec(_plain_torch("up", described), {"model": model, "torch": torch})
    with torch.no_grad():
        layer.factors[0].add_(1.0)
    (tmp_path / "wrong.py").write_text(_plain_torch("up", described))
    broken = nn.ModuleDict({"up": layer})
    layer.forward = lambda x: torch.zeros(5, 37)  # type: ignore[method-assign]
    with pytest.raises(AssertionError):
        runpy.run_path(str(tmp_path / "wrong.py"), {"model": broken, "torch": torch})


def test_an_export_is_replaced_and_nothing_else_is(exported: Path, cli: Any, runs: Path, btt: TrialRow) -> None:
    other = next(trial for trial in trials(runs) if trial.label == "Kronecker")
    assert cli("export", other.key, "-o", exported).code == 0
    assert load_exported(exported).candidate.key == other.key
    assert sorted(path.name for path in exported.iterdir()) == FILES
    (exported / "notes.txt").write_text("mine")
    answer = cli("export", btt.key, "-o", exported)
    assert answer.err == (
        f"einsearch: {exported} holds notes.txt, so it is no export that may be replaced; give another folder\n"
    )
    assert load_exported(exported).candidate.key == other.key


def test_folders_that_cannot_be_written(cli: Any, btt: TrialRow, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert cli("export", btt.key, "-o", tmp_path / "empty").code == 0
    (tmp_path / "file").write_text("x")
    answer = cli("export", btt.key, "-o", tmp_path / "file")
    assert (answer.code, answer.err.count("\n")) == (2, 1)
    assert answer.err.startswith(f"einsearch: cannot export to {tmp_path / 'file'}: Not a directory; give another")
    answer = cli("export", btt.key, "-o", tmp_path / "file" / "below")
    assert answer.err.startswith("einsearch: cannot export to ")
    (tmp_path / "others").mkdir()
    (tmp_path / "others" / "README.md").write_text("mine")
    answer = cli("export", btt.key, "-o", tmp_path / "others")
    assert "holds README.md, so it is no export that may be replaced" in answer.err
    (tmp_path / "others" / "description.json").write_text("{}")
    answer = cli("export", btt.key, "-o", tmp_path / "others")
    assert "is no description of an einsearch trial" in answer.err


def test_a_crash_while_exporting_leaves_what_was_there(
    exported: Path, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = next(trial for trial in trials(runs) if trial.label == "Kronecker")

    def fail(_: int) -> None:
        raise KeyboardInterrupt("the machine goes down")

    for folder in (exported, exported.parent / "new"):
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", fail)
            with pytest.raises(KeyboardInterrupt):
                export_trial(other.key, folder, runs=runs)
    assert [path.name for path in exported.parent.iterdir()] == ["btt"]
    assert load_exported(exported).candidate.key != other.key


def test_trials_that_cannot_be_exported(
    cli: Any, runs: Path, btt: TrialRow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    answer = cli("export", "zz", "-o", out)
    assert (answer.code, answer.err) == (2, "einsearch: no trial of this study has a key that begins with 'zz'\n")
    answer = cli("export", "", "-o", out)
    assert answer.err.startswith("einsearch: 5 trials have a key that begins with '': ")
    answer = cli("export", btt.key, "-o", out, "--study", "none")
    assert answer.err.startswith("einsearch: there is no study 'none' in ")
    answer = cli("export", btt.key, "-o", out, "--runs", tmp_path / "nowhere")
    assert answer.code == 2
    assert answer.err.count("\n") == 1
    assert not out.exists()


def test_a_trial_whose_checkpoint_is_gone(cli: Any, runs: Path, btt: TrialRow, tmp_path: Path) -> None:
    moved = tmp_path / "moved.db"
    for value, said in (
        ("'/nowhere/0001-x-0/step-1'", "is not at /nowhere"),
        ("NULL", "has no checkpoint: it is comp"),
    ):
        import sqlite3

        shutil.copy(runs / "einsearch.db", moved)
        with sqlite3.connect(moved) as connection:
            connection.execute(f"UPDATE es_trial SET checkpoint = {value} WHERE id = {btt.id}")
        connection.close()
        answer = cli("export", btt.key, "-o", tmp_path / "out", "--store", f"sqlite:///{moved}")
        assert (answer.code, answer.err.count("\n")) == (2, 1)
        assert said in answer.err
        assert f"trial {btt.key}, seed 0, of study 'tiny'" in answer.err


def test_the_checkpoints_of_runs_that_were_moved_are_found(runs: Path, btt: TrialRow, tmp_path: Path) -> None:
    import sqlite3

    with sqlite3.connect(runs / "einsearch.db") as connection:
        elsewhere = str(btt.checkpoint).replace(str(Path(str(btt.checkpoint)).parents[3]), "/elsewhere/runs")
        assert elsewhere.startswith("/elsewhere/runs/tiny/checkpoints/")
        connection.execute("UPDATE es_trial SET checkpoint = ? WHERE id = ?", (elsewhere, btt.id))
    connection.close()
    assert load_exported(export_trial(btt.key, tmp_path / "out", runs=runs)).candidate.key == btt.key


def damage(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = folder / "description.json"
    described = json.loads(path.read_text())
    change(described)
    path.write_text(json.dumps(described))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(format="x"), r"is no description of an einsearch trial; give the folder that holds one$"),
        (lambda d: d.update(version=9), r"has version 9, this einsearch reads up to 1; install a newer one$"),
        (lambda d: d.pop("candidate"), r"description.json is damaged: 'candidate'; export the trial again$"),
        (lambda d: d["protocol"].update(mystery=1), r"description.json is damaged: .*mystery"),
        (
            lambda d: d["candidate"]["shape"].update(width=32),
            r"does not fit einsearch .*: blocks.0.down.factors.0 is \(.*\) there and \(.*\) here; use the version",
        ),
    ],
)
def test_an_export_that_is_damaged(change: Callable[[dict[str, Any]], object], message: str, exported: Path) -> None:
    damage(exported, change)
    with pytest.raises(EinsearchError, match=message):
        load_exported(exported)


def test_an_export_without_weights(exported: Path, tmp_path: Path) -> None:
    assert "blocks.0.up.factors.0" in load_file(exported / "weights.safetensors")
    (exported / "weights.safetensors").unlink()
    with pytest.raises(EinsearchError, match=r"^the weights .*weights.safetensors cannot be read: "):
        load_exported(exported)
    with pytest.raises(EinsearchError, match=r"description.json cannot be read: .*No such file"):
        load_exported(tmp_path)


def model() -> nn.Sequential:
    return nn.Sequential(nn.Linear(64, 256), nn.GELU(), nn.Linear(256, 64))


def test_a_key_stands_for_the_structure_of_its_trial(runs: Path, btt: TrialRow) -> None:
    for structure in (btt.key, btt.key[:6], f"{btt.key}:down", {"*": f"{btt.key}:attention"}):
        own = model()
        conversion = convert(own, structure, runs=runs)
        assert len(conversion.replaced) == 2
        assert own[0].operator.einsum.canonical() == parse("btt(1/4)").canonical()
    own = model()
    convert(own, {"0": btt.key, "2": "low-rank"}, runs=runs, study="tiny", seed=0)
    assert str(own[2].operator.einsum) == str(parse("low-rank"))


def test_keys_that_name_no_structure(runs: Path, btt: TrialRow) -> None:
    with pytest.raises(EinsearchError, match=r"^structure 'fade' is read as a trial's key: no trial of this study has"):
        convert(model(), "fade", runs=runs)
    with pytest.raises(EinsearchError, match=r"^structure 'fade' is read as a trial's key: .*nowhere"):
        convert(model(), "fade", runs=runs / "nowhere")
    with pytest.raises(
        EinsearchError, match=r"has no site 'lm_head'; its sites: q, k, v, o, up, down, attention, ffn$"
    ):
        convert(model(), f"{btt.key}:lm_head", runs=runs)
    with pytest.raises(
        EinsearchError, match=r"^study says where a trial's key is looked up, but no structure is a key"
    ):
        convert(model(), "btt", study="tiny")
    dense = next(trial for trial in trials(runs) if trial.kind == "ladder")
    with pytest.raises(EinsearchError, match=r"^every structure is dense"):
        convert(model(), dense.key, runs=runs)


def test_a_candidate_of_several_structures_needs_a_site() -> None:
    shape = ModelShape(width=64)
    candidate = Candidate.of_sites(
        {"attention": parse("btt"), "up": parse("kronecker"), "down": parse("low-rank")}, shape
    )
    assert structure_of(candidate, "attention", "abc") == structure_of(candidate, "k", "abc") == parse("btt")
    assert structure_of(candidate, "down", "abc") == parse("low-rank")
    for site in (None, "ffn"):
        with pytest.raises(
            EinsearchError, match=r"^trial abc has several structures \(q .*; map patterns to them, as \{"
        ):
            structure_of(candidate, site, "abc")
    mixture = Candidate.of(parse("btt"), shape, Mixture(experts=4, active=2))
    with pytest.raises(EinsearchError, match=r"^trial abc is a mixture of experts \(.*\), which is no single einsum"):
        structure_of(mixture, None, "abc")
