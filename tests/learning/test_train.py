"""Training: what a killed, damaged or wrongly asked run does."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from doodcli.data.load import load_images
from doodcli.devices import cpp_compiler
from doodcli.errors import InputError, RunFailed
from doodcli.learning.checkpoints import newest_checkpoint
from doodcli.learning.runs import open_run
from doodcli.learning.train import Listener, Plan, Stopped, train, train_together
from doodcli.learning.trainer import Trainer
from doodcli.settings import change, preset

STEPS = 24


def tiny(**changes):
    """Settings of a run of seconds."""
    values = {"data.dataset": "digits", "learning.steps": STEPS, **changes}
    return change(preset("tiny"), values)


def weights(path: Path) -> dict[str, torch.Tensor]:
    return open_run(path).checkpoint.weights()


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A run that nobody disturbed."""
    runs = tmp_path_factory.mktemp("whole")
    return train(tiny(), Plan(runs, checkpoint_minutes=0)).path


def start(runs: Path) -> subprocess.Popen[bytes]:
    """`dood train` of the same run, in a process of its own that can be killed."""
    command = [
        sys.executable, "-c", "from doodcli.cli import main; main()", "train", "--preset", "tiny",
        "--dataset", "digits", "--steps", str(STEPS), "--runs", str(runs), "--device", "cpu",
        "--checkpoint-minutes", "0", "--quiet",
    ]  # fmt: skip
    threads = {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    return subprocess.Popen(command, env={**os.environ, **threads})


def wait_for_step(runs: Path, step: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        steps = [int(p.name.split("-")[1]) for p in runs.glob("*/checkpoint-*")]
        if steps and max(steps) >= step:
            return
        time.sleep(0.01)
    raise AssertionError(f"no checkpoint at step {step}; exit code {process.poll()}")


@pytest.mark.parametrize("kind", [signal.SIGTERM, signal.SIGKILL])
def test_a_killed_run_resumes_to_the_same_weights(kind, whole, tmp_path):
    process = start(tmp_path)
    wait_for_step(tmp_path, 4, process)
    process.send_signal(kind)
    code = process.wait(timeout=60)
    assert code == (143 if kind == signal.SIGTERM else -signal.SIGKILL)
    (path,) = tmp_path.glob("dood-*")
    assert not open_run(path).checkpoint.facts["finished"]
    again = train(tiny(), Plan(tmp_path))
    assert again.path.name == whole.name
    assert equal(weights(again.path), weights(whole))
    log = again.log()
    assert log["step"].is_monotonic_increasing
    assert log["step"].is_unique
    assert log["step"].iloc[-1] == STEPS


def copy(path: Path, to: Path) -> Path:
    import shutil

    return Path(shutil.copytree(path, to / path.name))


@pytest.mark.parametrize("damage", ["truncated", "altered", "manifest gone", "step altered"])
def test_a_damaged_checkpoint_is_refused_by_name_and_the_one_before_it_is_used(
    damage, whole, tmp_path
):
    path = copy(whole, tmp_path)
    newest, older = sorted(path.glob("checkpoint-*"), reverse=True)
    file = newest / "weights.safetensors"
    data = bytearray(file.read_bytes())
    if damage == "truncated":
        file.write_bytes(data[: len(data) // 2])
    elif damage == "altered":
        data[-5] ^= 1
        file.write_bytes(data)
    elif damage == "manifest gone":
        (newest / "manifest.json").unlink()
    else:
        manifest = newest / "manifest.json"
        facts = json.loads(manifest.read_text())
        manifest.write_text(json.dumps({**facts, "step": facts["step"] - 1}))
    run = open_run(path)
    assert run.checkpoint.folder == older
    assert len(run.refused) == 1
    assert newest.name in run.refused[0]
    assert equal(weights(train(tiny(), Plan(tmp_path)).path), weights(whole))
    # It does not count as one of the two that are kept.
    assert len(list(path.glob("checkpoint-*"))) == 2
    assert len(list(path.glob("damaged-*"))) == 1


def test_a_folder_that_holds_something_else_is_refused(tmp_path):
    (tmp_path / "letters.txt").write_text("precious")
    with pytest.raises(InputError, match="no run"):
        train(tiny(), Plan(tmp_path, run_dir=tmp_path))
    assert [p.name for p in tmp_path.iterdir()] == ["letters.txt"]


def test_a_run_without_a_whole_checkpoint_is_refused(whole, tmp_path):
    path = copy(whole, tmp_path)
    for folder in path.glob("checkpoint-*"):
        (folder / "weights.safetensors").write_bytes(b"")
    with pytest.raises(InputError, match="no whole checkpoint"):
        open_run(path)
    with pytest.raises(InputError, match="--no-resume"):
        train(tiny(), Plan(tmp_path))


class Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_a_pickle_in_a_run_folder_is_never_executed(whole, tmp_path):
    path = copy(whole, tmp_path)
    fuse = tmp_path / "it went off"
    bomb = pickle.dumps(Bomb(fuse))
    newest = max(path.glob("checkpoint-*"))
    for name in ("weights.safetensors", "training.safetensors", "manifest.json"):
        (newest / name).write_bytes(bomb)
    (path / "weights.pt").write_bytes(bomb)
    assert open_run(path).checkpoint.folder != newest
    # Even one whose checksums are right is only read as safetensors.
    older = open_run(path).checkpoint.folder
    facts = open_run(path).checkpoint.facts
    facts["sha256"]["weights.safetensors"] = hashlib.sha256(bomb).hexdigest()
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    (older / "weights.safetensors").write_bytes(bomb)
    (older / "manifest.json").write_text(json.dumps({**facts, "digest": digest}))
    with pytest.raises(InputError, match="weights"):
        open_run(path).model()
    assert not fuse.exists()


def test_other_settings_are_refused_and_listed(whole, tmp_path):
    path = copy(whole, tmp_path)
    before = weights(path)
    other = tiny(**{"learning.lr": 0.5, "model.strokes": 4})
    with pytest.raises(InputError) as refusal:
        train(other, Plan(tmp_path, run_dir=path))
    for words in ("learning.lr: 0.001 there, 0.5 asked", "model.strokes: 6 there, 4 asked"):
        assert words in str(refusal.value)
    assert equal(weights(path), before)


def test_more_steps_need_extend_and_are_recorded(whole, tmp_path):
    path = copy(whole, tmp_path)
    longer = tiny(**{"learning.steps": STEPS + 5})
    with pytest.raises(InputError, match="--extend"):
        train(longer, Plan(tmp_path, run_dir=path))
    with pytest.raises(InputError, match="--run-dir"):
        train(longer, Plan(tmp_path, extend=True))
    for other in ({"learning.steps": STEPS - 5}, {"learning.steps": None, "learning.minutes": 9}):
        with pytest.raises(InputError, match=rf"another number of them, above the {STEPS}"):
            train(tiny(**other), Plan(tmp_path, run_dir=path, extend=True))
    train(longer, Plan(tmp_path, run_dir=path, extend=True))
    run = train(longer, Plan(tmp_path, run_dir=path, extend=True))
    assert run.checkpoint.facts["step"] == STEPS + 5
    assert run.record["extended"] == [{"was": {"learning.steps": STEPS, "learning.minutes": None}}]


def test_a_run_that_was_cut_may_end_sooner(tmp_path):
    class Cut(Listener):
        sent = False

        def checkpoint(self, path, model):
            if not self.sent:  # a second signal would kill
                self.sent = True
                os.kill(os.getpid(), signal.SIGTERM)

    plan = Plan(tmp_path, checkpoint_minutes=0)
    with pytest.raises(Stopped):
        train(tiny(), plan, Cut())
    (path,) = tmp_path.glob("dood-*")
    done = open_run(path).checkpoint.facts["step"]
    assert done < STEPS - 5
    plan = Plan(tmp_path, run_dir=path, extend=True)
    assert train(tiny(**{"learning.steps": STEPS - 5}), plan).checkpoint.facts["finished"]


# ------------------------------------------------------------------ several in turns


def test_models_in_turns_learn_what_each_learns_alone(whole, tmp_path):
    shorter = tiny(**{"learning.steps": 7, "learning.kl_steps": 1, "seed": 3})
    alone = train(shorter, Plan(tmp_path / "alone"))
    both = train_together([tiny(), shorter], Plan(tmp_path), [Listener(), Listener()])
    assert [run.checkpoint.facts["models_together"] for run in both] == [2, 2]
    assert alone.checkpoint.facts["models_together"] == 1
    for run, other in zip(both, (open_run(whole), alone), strict=True):
        assert run.name == other.name
        assert equal(weights(run.path), weights(other.path))


def test_in_turns_the_time_of_the_others_counts(tmp_path, monkeypatch):
    step = Trainer._one_step

    def slow(one):
        if one.settings.seed == 1:
            time.sleep(0.05)
        step(one)

    monkeypatch.setattr(Trainer, "_one_step", slow)
    every = [tiny(), tiny(seed=1)]
    found, _ = train_together(every, Plan(tmp_path), [Listener(), Listener()])
    assert found.checkpoint.facts["seconds"] >= 0.05 * (STEPS - 1)
    assert "2 models in turns" in found.provenance()["training_device"]


def test_a_finished_run_is_no_company(whole, tmp_path):
    copy(whole, tmp_path)
    every = [tiny(), tiny(seed=1)]
    runs = train_together(every, Plan(tmp_path), [Listener(), Listener()])
    assert [run.checkpoint.facts["models_together"] for run in runs] == [1, 1]


def test_nothing_moves_before_all_can_be_trained(whole, tmp_path):
    path = copy(whole, tmp_path)
    wrong = tiny(**{"data.dataset": "nosuch"})
    with pytest.raises(InputError, match="nosuch"):
        train_together([tiny(), wrong], Plan(tmp_path, resume=False), [Listener(), Listener()])
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    assert equal(weights(path), weights(whole))


def test_where_one_breaks_the_others_go_on(tmp_path):
    class Poison(Listener):
        def checkpoint(self, path, model):
            with torch.no_grad():
                model.prior.pen_raw.fill_(float("nan"))

    heard = []
    poison = Poison()
    poison.warn = heard.append
    plan = Plan(tmp_path, checkpoint_minutes=0)
    with pytest.raises(RunFailed, match=r"dood-digits-s0-\w+: step \d+: .*not finite"):
        train_together([tiny(), tiny(seed=1)], plan, [poison, Listener()])
    assert "dood-digits-s0" in heard[0]
    finished = {
        open_run(path).settings.seed: open_run(path).checkpoint.facts["finished"]
        for path in tmp_path.glob("dood-*")
    }
    assert finished == {0: False, 1: True}


def test_a_device_without_room_is_told_in_a_line(tmp_path, monkeypatch):
    def full(one):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Trainer, "_one_step", full)
    with pytest.raises(RunFailed, match="out of memory; train fewer models"):
        train(tiny(), Plan(tmp_path))


def test_a_signal_saves_all(tmp_path):
    class Impatient(Listener):
        sent = False

        def row(self, row, trainer):
            if not self.sent:
                self.sent = True
                os.kill(os.getpid(), signal.SIGTERM)

    every = [tiny(), tiny(seed=1)]
    with pytest.raises(Stopped) as stopped:
        train_together(every, Plan(tmp_path), [Impatient(), Listener()])
    assert stopped.value.code == 128 + signal.SIGTERM
    steps = [open_run(path).checkpoint.facts["step"] for path in tmp_path.glob("dood-*")]
    assert sorted(steps) == [20, 21]
    found = train_together(every, Plan(tmp_path), [Listener(), Listener()])
    assert all(run.checkpoint.facts["finished"] for run in found)


def test_several_models_have_no_folder_of_one(tmp_path):
    plan = Plan(tmp_path, run_dir=tmp_path / "one")
    with pytest.raises(InputError, match="without --run-dir"):
        train_together([tiny(), tiny(seed=1)], plan, [Listener(), Listener()])


def test_a_finished_run_is_left_as_it_is(whole, tmp_path):
    path = copy(whole, tmp_path)
    before = {p: p.stat().st_mtime_ns for p in path.glob("checkpoint-*/*")}
    train(tiny(), Plan(tmp_path))
    assert {p: p.stat().st_mtime_ns for p in path.glob("checkpoint-*/*")} == before


def test_no_resume_keeps_what_was_there(whole, tmp_path):
    copy(whole, tmp_path)
    run = train(tiny(), Plan(tmp_path, resume=False))
    aside = run.path.with_name(f"{run.path.name}.old1")
    assert equal(weights(aside), weights(whole))
    assert equal(weights(run.path), weights(whole))


def test_two_processes_cannot_train_one_run(tmp_path):
    class Second(Listener):
        def started(self, path, trainer):
            with pytest.raises(InputError, match="another process"):
                train(tiny(**{"learning.steps": 2}), Plan(tmp_path))

    train(tiny(**{"learning.steps": 2}), Plan(tmp_path), Second())


def trainer(**changes) -> Trainer:
    images = load_images("digits")
    return Trainer(tiny(**changes), images.images, images.index, "cpu")


def test_a_loss_that_is_not_finite_stops_before_the_update(tmp_path):
    class Poison(Listener):
        def checkpoint(self, path, model):
            # As after a step too large: one weight of the pen's prior is lost.
            with torch.no_grad():
                model.prior.pen_raw.fill_(float("nan"))

    with pytest.raises(RunFailed, match=r"step \d+: .*kl_pen.*not finite") as failure:
        train(tiny(), Plan(tmp_path, checkpoint_minutes=0), Poison())
    (path,) = tmp_path.glob("dood-*")
    found, refused = newest_checkpoint(path)
    assert found is not None
    assert not refused
    kept = torch.cat([value.flatten() for value in found.weights().values()])
    assert torch.isfinite(kept).all()
    assert "last checkpoint is good" in str(failure.value)


def test_where_losses_are_looked_at_now_and_then_the_first_bad_step_is_named(monkeypatch):
    # As on an accelerator, which may not be asked at every step.
    monkeypatch.setattr(Trainer, "looks_at_once", False)
    training, seen = trainer(**{"learning.steps": 40}), []
    with pytest.raises(RunFailed, match=r"step 3: .*kl_pen.*not finite") as failure:
        for row in training.steps():
            seen.append(row)
            if training.step == 3:
                with torch.no_grad():
                    training.model.prior.pen_raw.fill_(float("nan"))
    assert len(seen) == 19  # all steps before the one that has a row for the log
    assert "gradient_norm" in str(failure.value)
    assert "last checkpoint is good" in str(failure.value)


def test_what_is_looked_at_late_is_looked_at_before_it_is_saved(tmp_path, monkeypatch):
    monkeypatch.setattr(Trainer, "looks_at_once", False)
    saved = []

    class Poison(Listener):
        def checkpoint(self, path, model):
            saved.append(path)
            with torch.no_grad():
                model.prior.pen_raw.fill_(float("nan"))

    with pytest.raises(RunFailed, match="stopped before it was saved"):
        train(tiny(), Plan(tmp_path, checkpoint_minutes=0), Poison())
    (path,) = set(saved)
    found, _ = newest_checkpoint(path)
    assert all(bool(torch.isfinite(value).all()) for value in found.weights().values())


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
def test_one_compiled_step_serves_all_steps_and_models(monkeypatch):
    # Traced, but run as it is: what takes a compiler minutes must not be done again.
    traced = []

    def backend(graph, inputs):
        traced.append(len(inputs))
        return graph.forward

    compiled = functools.partial(torch.compile, backend=backend)
    monkeypatch.setattr(torch, "compile", compiled)
    images = load_images("digits")
    for changes in ({}, {"model.scale_most": 0.4, "learning.beta": 2.0, "seed": 1}):
        settings = tiny(**{"learning.steps": 3, "learning.stop_delay": 1, **changes})
        plain, other = (
            Trainer(settings, images.images, images.index, "cpu", compiled=compiled)
            for compiled in (False, True)
        )
        for one in (plain, other):
            list(one.steps())
        for name, value in plain.model.state_dict().items():
            torch.testing.assert_close(
                other.model.state_dict()[name], value, rtol=0, atol=1e-4, msg=name
            )
    assert len(traced) == 2  # the step, and the prior's densities


@pytest.mark.slow
@pytest.mark.skipif(shutil.which(cpp_compiler()) is None, reason="there is no C++ compiler")
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
def test_a_compiled_step_is_an_eager_step(monkeypatch):
    settings = tiny(**{"model.strokes": 2, "learning.stop_delay": 0, "learning.draw_bias": 1.0})
    images = load_images("digits")
    losses = []
    for compiled in (False, True):
        training = Trainer(settings, images.images, images.index, "cpu", compiled=compiled)
        kept, loss = [], training.loss

        def keeping(*given, loss=loss, kept=kept):
            made = loss(*given)
            kept.append(made[0].item())
            return made

        training.objective.of = keeping
        for _ in zip(range(3), training.steps(), strict=False):
            pass
        losses.append(kept)
    # The second and third also tell whether the gradients agree.
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)


def test_a_vanishing_stroke_count_is_told(tmp_path):
    heard = []

    class Ear(Listener):
        def warn(self, text):
            heard.append(text)

    never = {"learning.draw_bias": -20.0, "learning.stop_delay": 1}
    train(tiny(**never), Plan(tmp_path), Ear())
    assert len(heard) == 1
    assert "about to stop drawing" in heard[0]


def test_the_stopping_posterior_waits_for_strokes_to_be_worth_drawing():
    waiting, learning = (
        trainer(**{"learning.stop_delay": 99}),
        trainer(**{"learning.stop_delay": 0}),
    )
    start = waiting.model.posterior.on_head[-1].bias.clone()
    for one in (waiting, learning):
        for _ in zip(range(3), one.steps(), strict=False):
            pass
    assert torch.equal(waiting.model.posterior.on_head[-1].bias, start)
    assert not torch.equal(learning.model.posterior.on_head[-1].bias, start)


def test_minutes_count_the_time_of_all_sessions(tmp_path):
    class Impatient(Listener):
        def checkpoint(self, path, model):
            raise Stopped(143)

    settings = tiny(**{"learning.steps": None, "learning.minutes": 0.05})
    plan = Plan(tmp_path, checkpoint_minutes=0)
    with pytest.raises(Stopped):
        train(settings, plan, Impatient())
    (path,) = tmp_path.glob("dood-*")
    first = open_run(path).checkpoint.facts
    assert first["step"] == 1
    last = train(settings, plan).checkpoint.facts
    assert last["finished"]
    assert last["seconds"] >= 3
    log = open_run(path).log()
    assert log["seconds"].is_monotonic_increasing
    assert log["seconds"].iloc[0] == pytest.approx(first["seconds"], abs=0.01)


def test_the_bound_rises_on_real_images():
    one = trainer(**{"learning.steps": 60, "learning.warmup_steps": 5})
    rows = [row for row in one.steps() if row]
    assert rows[-1]["elbo"] > rows[0]["elbo"] + 200
