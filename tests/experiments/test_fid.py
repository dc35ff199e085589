"""What FID says of pictures whose truth is known, and what is refused."""

from __future__ import annotations

import hashlib
import pickle
import sys
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.linalg import sqrtm
from torchvision.transforms.functional import gaussian_blur

from doodcli.data.load import load_begun, load_images
from doodcli.errors import InputError
from doodcli.experiments import extractors, fid
from doodcli.experiments.extractors import Judge
from doodcli.experiments.generate import Temperature

NUM = 300


@pytest.fixture(scope="module")
def judge() -> Judge:
    """The extractor that ships."""
    return Judge(extractors.chosen("strokes"), "cpu")


@pytest.fixture(scope="module")
def scribbles() -> SimpleNamespace:
    """Images of the same characters: some to be spoiled, others that are the reference."""
    images = load_images("scribbles", "all")
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    return SimpleNamespace(
        index=images.index[order[:NUM]],
        images=images.images[order[:NUM]],
        real=images.images[order[NUM : 2 * NUM]],
        set=images,
    )


def distance(judge: Judge, drawn: torch.Tensor, real: torch.Tensor) -> float:
    return fid.measures(judge.features(drawn), judge.features(real), 0)["fid"]


def blurred(images: torch.Tensor, sigma: float) -> torch.Tensor:
    return gaussian_blur(images, 13, sigma)


def noised(images: torch.Tensor, amount: float) -> torch.Tensor:
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(1))
    return (images + 255 * amount * noise).clamp(0, 255).byte()


@pytest.mark.parametrize(
    ("spoil", "amounts"), [(blurred, (0.7, 1.2, 2.5)), (noised, (0.05, 0.15, 0.4))]
)
def test_real_against_real_is_the_floor_and_worse_pictures_are_farther(
    judge, scribbles, spoil, amounts
):
    found = [distance(judge, scribbles.images, scribbles.real)]
    found += [distance(judge, spoil(scribbles.images, a), scribbles.real) for a in amounts]
    assert all(1.05 * near < far for near, far in pairwise(found)), found
    assert found[-1] > 3 * found[0]


def test_the_more_strokes_are_missing_the_farther_it_is(judge, scribbles):
    found = [distance(judge, scribbles.images, scribbles.real)]
    chosen = SimpleNamespace(
        index=scribbles.index, images=scribbles.images, remark=scribbles.set.remark
    )
    whole = load_begun(chosen, 6)
    assert torch.equal(whole, scribbles.images)  # the true strokes, none missing
    for kept in (3, 2, 1, 0):
        found.append(distance(judge, load_begun(chosen, kept), scribbles.real))
    assert found == sorted(found), found
    assert found[2] > 1.1 * found[0]


def test_it_is_the_closed_form_on_the_same_features(judge, scribbles):
    drawn = judge.features(scribbles.images)
    real = judge.features(blurred(scribbles.real, 1.0))
    assert drawn.dtype == torch.float64
    assert drawn.shape == (NUM, 128)
    (m1, s1), (m2, s2) = ((x.mean(0), np.cov(x.T)) for x in (drawn.numpy(), real.numpy()))
    expected = ((m1 - m2) ** 2).sum() + np.trace(s1 + s2 - 2 * sqrtm(s1 @ s2).real)
    found = fid.measures(drawn, real, 0)
    assert found["fid"] == pytest.approx(expected, rel=1e-6)
    # KID: the unbiased estimate with a cubic kernel, from all pictures.
    a, b = drawn.numpy(), real.numpy()
    inside, outside = ((1 + x @ y.T / 128) ** 3 for x, y in ((a, a), (a, b)))
    other = (1 + b @ b.T / 128) ** 3
    unlike = (~np.eye(NUM, dtype=bool)) / (NUM * (NUM - 1))
    expected = (inside * unlike).sum() + (other * unlike).sum() - 2 * outside.mean()
    assert found["kid"] == pytest.approx(expected, rel=1e-3)


def test_features_are_those_of_the_network_whatever_the_batch(judge, scribbles):
    network = judge.network.classifier
    with torch.no_grad():
        alone = network.features(scribbles.images[:3]).double()
    assert torch.allclose(judge.features(scribbles.images)[:3], alone, atol=1e-5)


def test_a_part_of_the_images_is_farther_and_less_recalled(judge):
    images = load_images("digits", "all")
    real = judge.features(images.images[images.labels >= 0][:NUM])
    ones = judge.features(images.images[images.labels == 1][: NUM // 2].repeat(2, 1, 1)[:NUM])
    found = fid.measures(ones, real, 0)
    same = fid.measures(real, real, 0)
    assert same["fid"] == pytest.approx(0, abs=1e-3)
    assert same["precision"] == same["recall"] == 1
    assert found["precision"] > 0.5 > found["recall"]


def sets(limit: int = 60) -> tuple:
    return tuple(load_images("digits", part, limit=limit) for part in ("train", "test"))


def test_the_same_number_and_seed_give_the_same_rows(judge):
    train, test = sets()
    asked = fid.Asked(num=30, sample_seeds=2, seed=4)
    rows = [fid.of_images(train, fid.FLOOR)]
    one, again = (fid.measure(test, rows, judge, asked) for _ in range(2))
    pd.testing.assert_frame_equal(one.drop(columns="seconds"), again.drop(columns="seconds"))
    assert one.sample_seed.tolist() == [4, 5]
    assert one.fid.nunique() == 2
    # A seed means the same whatever seeds come before it.
    later = fid.measure(test, rows, judge, asked._replace(sample_seeds=1, seed=5))
    assert later.fid.item() == one.fid.iloc[1]
    means = fid.summary(one)
    assert means.fid.item() == pytest.approx(one.fid.mean())
    assert means.fid_std.item() == pytest.approx(one.fid.std())
    assert means.sample_seeds.item() == 2


def test_rows_of_the_same_name_are_told_apart_by_their_runs():
    row = {"dataset": "mnist", "drawn_by": "dood", "kind": "model", "run": "a", "remark": "",
           "source_fingerprint": "f", "temperature": "1", "features": "strokes",
           "feature_size": 128, "part": "test", "images": 10, "sample_seed": 0, "paper_fid": None,
           "paper_fid_std": None,
           **dict.fromkeys(fid.SEVERAL, 1.0)}  # fmt: skip
    table = pd.DataFrame([row, row | {"run": "b", "fid": 3.0}, row | {"dataset": "kmnist"}])
    found = fid.summary(table)
    assert found.drawn_by.tolist() == ["dood (a)", "dood (b)", "dood"]
    assert found.fid.tolist() == [1, 3, 1]


def test_pictures_of_another_size_are_compared_at_fifty_pixels():
    small = load_images("digits", "test", resolution=20)
    assert fid.some_images(small, 7, 0).shape == (7, 50, 50)
    assert len({tuple(image.flatten().tolist()) for image in fid.some_images(small, 60, 0)}) == 60


def test_the_number_is_that_of_the_smallest_set_for_all():
    said: list[str] = []
    assert fid.common_number(50, {"a": 50, "b": 80}, said.append) == 50
    assert not said
    assert fid.common_number(100, {"a": 90, "b, test images": 40}, said.append) == 40
    assert said == ["b, test images: only 40, so every row is of 40 and not of 100"]
    with pytest.raises(InputError, match="b: only 9"):
        fid.common_number(100, {"b": 9}, said.append)


def test_the_papers_factors_are_for_models_with_control_points():
    both = [Temperature.parse(text) for text in ("1", "paper")]
    for latent, names in (("points", ["1", "paper"]), ("code", ["1"])):
        run = SimpleNamespace(settings=SimpleNamespace(model=SimpleNamespace(latent=latent)))
        assert [one.name for one in fid.temperatures_of(run, both)] == names


# ------------------------------------------------------------------------------- extractors


class Trap:
    """A pickle that writes a file when it is opened."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_wrong_weights_are_refused_before_they_are_unpickled(tmp_path):
    sprung = tmp_path / "sprung"
    (tmp_path / "trap.pth").write_bytes(pickle.dumps(Trap(sprung)))
    with pytest.raises(InputError, match=r"trap\.pth.*sha256.*not opened"):
        extractors.chosen("inception-2048", tmp_path / "trap.pth")
    assert not sprung.exists()
    with pytest.raises(InputError, match=r"nowhere\.pth"):
        extractors.chosen("inception-64", tmp_path / "nowhere.pth")
    with pytest.raises(InputError, match=r"features\.json"):
        extractors.chosen("strokes", tmp_path)
    with pytest.raises(InputError, match="inception-64"):
        extractors.chosen("inception")


def test_without_a_network_inception_says_what_to_do(tmp_path, monkeypatch):
    def unreachable(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", unreachable)
    with pytest.raises(InputError, match=r"no route to host.*--weights.*strokes"):
        extractors.chosen("inception-64")
    # A file that lies there is checked like one that was given.
    (tmp_path / "checkpoints" / extractors.INCEPTION_FILE).write_bytes(b"half a download")
    with pytest.raises(InputError, match="sha256"):
        extractors.chosen("inception-64")


def test_inception_reads_what_our_extractor_reads(tmp_path, monkeypatch, scribbles):
    from torch_fidelity import feature_extractor_inceptionv3 as inception

    path = tmp_path / "weights.pth"
    with monkeypatch.context() as patch:  # weights that nobody trained
        patch.setattr(inception, "load_state_dict_from_url", lambda *_, **__: {})
        patch.setattr(inception.FeatureExtractorInceptionV3, "load_state_dict", lambda *_: None)
        made = inception.FeatureExtractorInceptionV3("inception-v3-compat", ["64"])
        torch.save(made.state_dict(), path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setattr(extractors, "INCEPTION_SHA256", digest)
    chosen = extractors.chosen("inception-64", path)
    assert (chosen.size, chosen.digest) == (64, digest[:16])
    found = Judge(chosen, "cpu").features(scribbles.images[:3])
    assert found.shape == (3, 64)
    (expected,) = made(scribbles.images[:3, None].expand(-1, 3, -1, -1))
    assert torch.allclose(found.float(), expected, atol=1e-5)


def test_a_missing_torch_fidelity_is_named_in_a_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch_fidelity", None)
    with pytest.raises(InputError, match=r"torch-fidelity.*pip install 'doodcli\[fid\]'"):
        extractors.require()
    assert extractors.chosen("strokes").size == 128  # nothing else asks for it
