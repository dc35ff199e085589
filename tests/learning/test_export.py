"""Exports: smaller than their run, as good, and where training may start again."""

from __future__ import annotations

import json
import shutil

import pytest
import torch

from doodcli.data.load import load_images
from doodcli.errors import InputError, RunFailed
from doodcli.experiments import export as experiment
from doodcli.learning import runs as room
from doodcli.learning.checkpoints import save_checkpoint
from doodcli.learning.export import HALVED_FROM, export
from doodcli.learning.runs import Run, open_run
from doodcli.learning.train import Listener, Plan, train
from doodcli.settings import change, preset
from tests.command import dood, refused

SETTINGS = change(preset("tiny"), {"data.dataset": "digits", "model.hidden": 64})


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    return train(SETTINGS, Plan(tmp_path_factory.mktemp("runs")))


def test_an_export_is_smaller_and_draws_the_same_to_half_precision(run, tmp_path):
    small = export(run, tmp_path / "small")
    sizes = [
        sum(f.stat().st_size for f in which.path.rglob("*.safetensors")) for which in (run, small)
    ]
    assert sizes[1] < 0.25 * sizes[0]  # half the weights, and neither of Adam's two moments
    images = load_images("digits", "test", limit=8).images
    before, after = run.model(), small.model()
    for name, value in before.state_dict().items():
        if value.numel() < HALVED_FROM:
            assert torch.equal(value, after.state_dict()[name]), name
        else:
            torch.testing.assert_close(after.state_dict()[name], value, rtol=1e-3, atol=1e-6)
            assert not torch.equal(value, after.state_dict()[name]), name
    log_q = [model.infer(images, samples=2)[1] for model in (before, after)]
    torch.testing.assert_close(*log_q, rtol=0.02, atol=0.5)


def test_an_export_says_what_it_was_made_of(run, tmp_path):
    small = export(run, tmp_path / "small")
    again = export(small, tmp_path / "again")
    facts = run.provenance()
    for other in (small, again):
        assert other.provenance() == {**facts, "run": other.name, "precision": "float16"}
    assert facts["precision"] == "float32"
    assert again.checkpoint.facts["sha256"] == small.checkpoint.facts["sha256"]
    assert small.log().equals(run.log())


@pytest.mark.parametrize("lacking", [[], ["models_together", "threads"]])
def test_a_finished_export_is_left_as_it_is(run, tmp_path, lacking):
    class Ear(Listener):
        def warn(self, text):
            raise AssertionError(text)

    runs = tmp_path / "runs"
    small = export(run, runs / run.name)
    # As of versions before those facts.
    facts = {k: v for k, v in small.checkpoint.facts.items() if k not in lacking}
    save_checkpoint(small.path, small.checkpoint.weights(), None, facts)
    small = open_run(small.path)
    train(SETTINGS, Plan(runs), Ear())
    assert open_run(small.path).provenance() == small.provenance()


def test_a_run_goes_on_from_an_export(run, tmp_path):
    small = export(run, tmp_path / "small")
    (small.path / "README.md").write_text("a card")
    step, seconds = (small.checkpoint.facts[name] for name in ("step", "seconds"))
    rows = len(small.log())
    longer = change(SETTINGS, {"learning.steps": step + 30})
    heard = []

    class Ear(Listener):
        def warn(self, text):
            heard.append(text)

        def started(self, path, trainer):
            # What the weights say of the errors of pixels is remembered.
            trainer_error = trainer.error / (1 - trainer.settings.learning.scale_memory**step)
            torch.testing.assert_close(trainer_error, small.model().scale)

    found = train(longer, Plan(tmp_path, run_dir=small.path, extend=True), Ear())
    assert f"is an export at step {step}" in heard[0]
    facts = found.checkpoint.facts
    assert (facts["step"], facts["finished"], facts.get("exported")) == (step + 30, True, None)
    assert (small.path / "export-README.md").read_text() == "a card"
    assert not (small.path / "README.md").exists()
    (before,) = facts["before"]
    assert (before["step"], before["seconds"]) == (step, seconds)
    assert facts["seconds"] > seconds
    assert len(found.log()) > rows
    device = found.provenance()["training_device"]
    assert device == small.provenance()["training_device"]  # the same for both parts
    assert not torch.equal(
        found.model().posterior.on_head[-1].bias, run.model().posterior.on_head[-1].bias
    )


def test_a_flipped_byte_in_an_export_is_refused(run, tmp_path):
    small = export(run, tmp_path / "small")
    path = small.checkpoint.folder / "weights.safetensors"
    bytes_ = bytearray(path.read_bytes())
    bytes_[-5] ^= 1
    path.write_bytes(bytes_)
    with pytest.raises(InputError, match="its sha256 differs"):
        open_run(small.path)


def test_an_export_replaces_an_export_and_nothing_else(run, tmp_path):
    small = export(run, tmp_path / "small")
    (small.path / "README.md").write_text("of the one before")
    export(run, tmp_path / "small")
    assert not (tmp_path / "small" / "README.md").exists()
    with pytest.raises(InputError, match="no export"):
        export(run, run.path)
    assert open_run(run.path).checkpoint.exported is None
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("words")
    with pytest.raises(InputError, match="no export"):
        export(run, tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "words"


def test_a_weight_beyond_half_precision_is_refused_by_name(run, tmp_path, monkeypatch):
    weights = run.checkpoint.weights()
    name = max(weights, key=lambda key: weights[key].numel())
    weights[name].view(-1)[3] = 1e6
    monkeypatch.setattr(type(run.checkpoint), "weights", lambda self: weights)
    with pytest.raises(InputError, match=f"{name} is too large for half precision"):
        export(run, tmp_path / "small")
    assert not (tmp_path / "small").exists()


def test_the_check_measures_both_on_validation_images(run, tmp_path):
    held_out = load_images("digits", "validation", limit=12)
    found = experiment.exported(run, tmp_path / "small", held_out, 3, 0, "cpu")
    assert list(found.table.precision) == ["float32", "float16"]
    assert list(found.table.part) == ["validation"] * 2
    assert found.lost == found.table.iwae_nats[0] - found.table.iwae_nats[1]
    assert abs(found.lost) < experiment.MOST_LOST


def test_an_export_that_lost_too_much_is_a_failure(run, tmp_path, monkeypatch):
    def spoil(run: Run, folder):
        small = export(run, folder)
        model = small.model()
        with torch.no_grad():
            model.scale.mul_(0.1)
        monkeypatch.setattr(
            Run, "model", lambda self, device="cpu": model if self.path == folder else keep(self)
        )
        return small

    keep = Run.model
    monkeypatch.setattr(experiment, "export", spoil)
    with pytest.raises(RunFailed, match="half precision cost"):
        experiment.exported(
            run, tmp_path / "small", load_images("digits", "validation", limit=8), 2, 0, "cpu"
        )


def test_export_writes_a_card_with_what_was_measured(run, tmp_path, capsys):
    result = dood(
        capsys, "export", run.path, "--out", tmp_path / "x", "--samples", 2, "--limit", 8, "--json"
    )
    assert result.code == 0, result.err
    rows = json.loads(result.out)
    card = (tmp_path / "x" / "README.md").read_text()
    assert f"{rows[1]['iwae_nats']:,.1f} ± " in card
    assert "CC BY 4.0 (Alpaydin" in card
    assert f"| run | {run.name}, weights" in card
    assert rows[0]["weights"] in card
    assert rows[0]["source_fingerprint"] in card


@pytest.mark.parametrize("name", room.pretrained())
def test_what_ships_draws_ink_and_is_small(name):
    run = open_run(f"{room.PRETRAINED}{name}")
    assert run.provenance()["source"] == name
    assert sum(f.stat().st_size for f in run.path.rglob("*") if f.is_file()) < 8 * 2**20
    images = load_images("digits", "test", limit=16).images
    model = run.model()
    drawing, _ = model.infer(images)
    ink = images.float() / 255
    error = (model.render(drawing)[0] - ink).abs().mean()
    assert error < 0.75 * ink.mean()  # of a blank page it is their mean


def test_a_model_that_ships_is_opened_by_its_name(run, tmp_path, monkeypatch, capsys):
    export(run, tmp_path / "shipped" / "digits")
    monkeypatch.setattr(room, "SHIPPED", tmp_path / "shipped")
    assert room.pretrained() == ["digits"]
    result = dood(capsys, "info", "pretrained:digits", "--json")
    assert json.loads(result.out)["run"]["source"] == "digits"
    refused(dood(capsys, "info", "pretrained:moon"), "pretrained:moon", "choose from digits")
    shutil.rmtree(tmp_path / "shipped")
    refused(dood(capsys, "info", "pretrained:digits"), "there is none")
