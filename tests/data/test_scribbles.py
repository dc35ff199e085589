"""The scribbles: the same on each run, drawn as their drawings say, and worth classifying."""

from pathlib import Path

import numpy as np
import pytest
import torch

from doodcli.data import files, scribbles
from doodcli.data.files import Arrays
from doodcli.data.load import load_begun, load_images
from doodcli.data.scribbles import scribbles_arrays, scribbles_drawings
from doodcli.model.drawing import Drawing
from doodcli.model.model import DrawingModel
from doodcli.model.prior import PEN
from doodcli.settings import change, preset


@pytest.fixture(scope="module")
def arrays() -> Arrays:
    return scribbles_arrays()


@pytest.fixture(scope="module")
def drawings() -> Drawing:
    return scribbles_drawings()


def test_a_seed_gives_the_same_scribbles_on_each_run(arrays: Arrays) -> None:
    scribbles_drawings.cache_clear()
    again = scribbles_arrays(seed=0)
    assert files.digest(again) == files.digest(arrays)
    assert not np.array_equal(scribbles_arrays(seed=1)["images"], arrays["images"])


def test_the_arrays_are_a_data_set_of_whole_alphabets(arrays: Arrays) -> None:
    checked = files.validated(arrays, "scribbles")
    assert all(checked[key].dtype == arrays[key].dtype for key in arrays)
    assert arrays["images"].shape == (1920, 50, 50)
    assert np.bincount(arrays["labels"]).tolist() == [20] * 96
    assert len(set(arrays["classes"])) == 96
    assert set(arrays["alphabet"][arrays["split"] == 0]) == set(range(6))
    assert set(arrays["alphabet"][arrays["split"] == 1]) == {6, 7}
    for label, name in enumerate(arrays["classes"]):
        alphabet = set(arrays["alphabets"][arrays["alphabet"][arrays["labels"] == label]])
        assert alphabet == {name.split("/")[0]}


def test_the_loader_holds_a_whole_alphabet_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOOD_CACHE", str(tmp_path))
    sizes = [len(load_images("scribbles", part)) for part in ("train", "validation", "test")]
    assert sizes == [1200, 240, 480]


@pytest.mark.parametrize("lead", ["batch", "samples, batch"])
def test_the_true_drawings_render_to_the_images(
    lead: str, arrays: Arrays, drawings: Drawing
) -> None:
    values = {"model.curve_samples": scribbles.MODEL.curve_samples}
    model = DrawingModel(change(preset("tiny"), values).model)
    if lead == "samples, batch":
        drawings = drawings.map(lambda part: part[None])
    with torch.no_grad():
        pictures = model.render(drawings)
    assert pictures.shape[-3:] == (1920, 50, 50)
    apart = pictures.reshape(-1, 50, 50) * 255 - torch.from_numpy(arrays["images"]).float()
    assert apart.abs().max() < 0.5 + 1e-2


def test_the_drawings_lie_in_the_models_ranges(drawings: Drawing) -> None:
    present = drawings.present > 0
    assert drawings.present.shape == (1920, 6)
    assert (drawings.present.diff(dim=1) <= 0).all()
    assert set(drawings.stroke_count.unique().tolist()) == {1, 2, 3, 4}
    scale, x, y, turn = drawings.layout[present].unbind(-1)
    assert scale.min() > 0.2
    assert scale.max() < 1
    assert torch.cat([x, y]).abs().max() < 0.8
    assert turn.abs().max() < torch.pi / 4
    assert drawings.strokes[present].abs().max() < 1.6
    assert ((drawings.pen - PEN.middle).abs() < PEN.radius).all()
    # Far enough inside that the model's unconstrained coordinates give them back.
    model = DrawingModel(preset("tiny").model)
    back = model.interval.constrain(model.interval.free(drawings.layout))
    torch.testing.assert_close(back, drawings.layout, atol=1e-6, rtol=0)


def test_the_nearest_neighbour_is_mostly_of_the_same_class(arrays: Arrays) -> None:
    labels = arrays["labels"]
    rights = []
    for alphabet in range(8):
        these = np.flatnonzero(arrays["alphabet"] == alphabet)
        pixels = torch.from_numpy(arrays["images"][these]).float().flatten(1)
        apart = torch.cdist(pixels, pixels)
        apart.fill_diagonal_(torch.inf)
        rights.append((labels[these[apart.argmin(1).numpy()]] == labels[these]).mean())
        # One example a class, as in one-shot classification; chance is 1/12.
        one = apart[:, ::20].masked_fill(apart[:, ::20].isinf(), 0)
        assert ((one.argmin(1) == torch.arange(240) // 20).float().mean()) > 0.5
    assert min(rights) > 0.9


def test_a_class_keeps_its_strokes_and_an_instance_is_its_own(
    arrays: Arrays, drawings: Drawing
) -> None:
    by_class = drawings.map(lambda part: part.unflatten(0, (96, 20)))
    assert (by_class.present == by_class.present[:, :1]).all()
    spread = by_class.strokes.std(1)[by_class.present[:, 0] > 0]
    between = by_class.strokes.mean(1)[by_class.present[:, 0] > 0].std(0)
    assert spread.mean() < between.mean() / 4
    assert len(np.unique(arrays["images"].reshape(1920, -1), axis=0)) == 1920


def test_there_is_some_ink_and_it_stays_off_the_border(arrays: Arrays) -> None:
    share = (arrays["images"] / 255).mean((1, 2))
    assert share.min() > 0.02
    assert share.max() < 0.3
    assert (arrays["images"].max((1, 2)) > 200).mean() > 0.99
    border = np.concatenate([arrays["images"][:, [0, -1]], arrays["images"][:, :, [0, -1]].mT], 1)
    assert border.max() < 64
    assert scribbles.MODEL.resolution == arrays["images"].shape[1]


@pytest.mark.parametrize(("side", "transpose"), [(50, False), (50, True), (24, False)])
def test_a_scribble_begins_with_its_true_strokes(
    side: int, transpose: bool, drawings: Drawing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOOD_CACHE", str(tmp_path))
    found = load_images("scribbles", "test", resolution=side, transpose=transpose, limit=40)
    counts = drawings.stroke_count[found.index].int()
    assert set(counts.tolist()) >= {1, 2, 3}
    stages = torch.stack([load_begun(found, k) for k in range(1, 5)]).int()
    assert stages.shape == (4, 40, side, side)
    whole = found.images.int()
    assert stages[-1].equal(whole)
    assert (stages.diff(dim=0) >= 0).all()
    for k, stage in enumerate(stages, 1):
        done = counts <= k
        assert stage[done].equal(whole[done])
        assert ((stage != whole)[~done].sum((1, 2)) > 4).all()
    if side == 50:  # the first of the strokes, as any model of the paper's sizes renders it
        model = DrawingModel(change(preset("tiny"), {"model.curve_samples": 64}).model)
        drawn = model.render(drawings.map(lambda part: part[found.index]), upto=1)
        drawn = drawn.mT if transpose else drawn
        assert (drawn * 255 - stages[0]).abs().max() < 1
