"""Episodes of one-shot classification: the official archive, and sampled ones of the same form."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import zipfile
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from PIL import Image

from doodcli.data import oneshot
from doodcli.data.fetch import fetch
from doodcli.data.load import load_images, resized
from doodcli.data.oneshot import load_episodes, read_runs, sampled
from doodcli.data.registry import DATA_SETS, data_set, known
from doodcli.errors import InputError
from tests.command import dood, refused
from tests.data.test_data_fetch import QUICK, publisher  # noqa: F401  (a fixture)

if TYPE_CHECKING:
    from pathlib import Path

    from tests.data.test_data_fetch import Publisher

ENTRY = data_set("omniglot-oneshot")


def png(at: int, size: tuple[int, int] = (105, 105)) -> bytes:
    """White paper with one black pixel in row `at`, column 3."""
    page = Image.new("1", size, 1)
    page.putpixel((3, at), 0)
    file = io.BytesIO()
    page.save(file, "PNG")
    return file.getvalue()


def members() -> dict[str, bytes]:
    """Two runs of three classes and two items; the k-th class of a run has its ink in row 10k."""
    found = {}
    for run, labels in (("run01", (3, 1)), ("run02", (2, 2))):
        for k in (1, 2, 3):
            found[f"{run}/training/class{k:02}.png"] = png(10 * k)
        lines = []
        for item, label in enumerate(labels, 1):
            found[f"{run}/test/item{item:02}.png"] = png(50 + item)
            lines.append(f"{run}/test/item{item:02}.png {run}/training/class{label:02}.png")
        found[f"{run}/class_labels.txt"] = "\n".join(lines).encode()
    return found


def archive(path: Path, content: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as made:
        for name, data in content.items():
            made.writestr(name, data)
    return path


# ---------------------------------------------------------------------- the official form


def test_runs_are_read_as_they_are_published(tmp_path):
    first, second = read_runs(archive(tmp_path / "runs.zip", members()))
    assert (first.name, second.name, first.part) == ("run01", "run02", "official")
    assert first.support.shape == (3, 105, 105)
    # Ink is white here.
    assert [picture.nonzero().tolist() for picture in first.support] == [
        [[10, 3]], [[20, 3]], [[30, 3]],
    ]  # fmt: skip
    assert first.support.max() == 255
    assert [picture.nonzero().tolist() for picture in first.queries] == [[[51, 3]], [[52, 3]]]
    assert first.truth.tolist() == [2, 0]
    assert second.truth.tolist() == [1, 1]


def test_every_picture_has_noise_of_its_own(tmp_path):
    runs = read_runs(archive(tmp_path / "runs.zip", members()))
    names = torch.cat([index for run in runs for index in (run.support_index, run.query_index)])
    assert len(set(names.tolist())) == 2 * (3 + 2)


def change(name: str, data: bytes | None) -> dict[str, bytes]:
    content = members()
    if data is None:
        del content[name]
    else:
        content[name] = data
    return content


BOMB = bytes(oneshot.MOST_BYTES + 1)


@pytest.mark.parametrize(
    ("content", "word"),
    [
        ({}, "run01"),
        ({"notes.txt": b"nothing"}, "run01"),
        (change("run02/test/item01.png", None), "run02/test/item01.png"),
        (change("run01/training/class03.png", None), "run01/training/class03.png"),
        (change("run02/class_labels.txt", None), "class_labels.txt"),
        (change("run02/class_labels.txt", b""), "class_labels.txt"),
        (change("run02/class_labels.txt", b"run02/test/item01.png"), "class_labels.txt"),
        (change("run02/class_labels.txt", "ü ü".encode()), "ascii"),
        (change("run01/test/item02.png", png(3, (28, 28))), "28×28"),
        (change("run01/test/item02.png", b"no picture"), "cannot"),
        (change("run01/test/item02.png", png(3)[:60]), "cannot"),
        (change("run01/test/item02.png", BOMB), "run01/test/item02.png has more than"),
    ],
)
def test_an_archive_of_another_form_is_named(tmp_path, content, word):
    path = archive(tmp_path / "runs.zip", content)
    with pytest.raises(InputError) as caught:
        read_runs(path)
    text = str(caught.value)
    assert str(path) in text
    assert word in text
    assert "dood data fetch omniglot-oneshot" in text
    assert "\n" not in text


def test_what_is_no_archive_or_half_of_one_is_named(tmp_path):
    path = archive(tmp_path / "runs.zip", members())
    whole = path.read_bytes()
    for data in (b"no archive", whole[: len(whole) // 2], b""):
        path.write_bytes(data)
        with pytest.raises(InputError, match="cannot be read as one-shot runs"):
            read_runs(path)
    flipped = bytearray(whole)
    flipped[200] ^= 255  # in the compressed picture: the archive's own checksum differs
    path.write_bytes(flipped)
    with pytest.raises(InputError, match="cannot be read as one-shot runs"):
        read_runs(path)
    with pytest.raises(InputError, match="no such file; get it by `dood data fetch"):
        read_runs(tmp_path / "nowhere.zip")


def test_another_archive_than_the_published_one_is_remarked(tmp_path):
    path = archive(tmp_path / ENTRY.archive, members())
    found = load_episodes("official", data_root=tmp_path)
    assert found.remark == "not the published file"
    assert found.fingerprint == hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    assert len(found.episodes) == 2
    limited = load_episodes("official", runs_file=path, limit=1)
    assert [episode.name for episode in limited.episodes] == ["run01"]


def test_the_published_runs(data_root):
    found = load_episodes("official", data_root=data_root)
    assert found.remark == ""
    assert len(found.episodes) == 20
    for run in found.episodes:
        assert run.support.shape == run.queries.shape == (20, 105, 105)
        assert sorted(run.truth.tolist()) == list(range(20))
        # Strokes are thin: what is white is little.
        assert 0.005 < (run.support > 127).float().mean() < 0.2
    assert found.episodes[0].truth[:4].tolist() == [7, 8, 1, 18]  # class08, 09, 02, 19


# --------------------------------------------------------------------------- the registry


def test_the_runs_are_fetched_and_kept_as_they_are(tmp_path, publisher, monkeypatch):  # noqa: F811
    data = archive(tmp_path / "published.zip", members()).read_bytes()
    publisher.pages["all_runs.zip"] = data
    root = tmp_path / "root"
    published = dataclasses.replace(ENTRY.sources[0], sha256=hashlib.sha256(data).hexdigest())
    monkeypatch.setitem(DATA_SETS, ENTRY.name, dataclasses.replace(ENTRY, sources=(published,)))
    path = fetch("omniglot-oneshot", root, base_url=publisher.url, retry=QUICK)
    assert path == root / "omniglot-oneshot-all_runs.zip"
    assert path.read_bytes() == data
    assert [p.name for p in root.iterdir()] == [path.name]
    assert load_episodes("official", data_root=root).remark == ""


def test_runs_that_are_not_the_published_ones_are_not_kept(
    tmp_path,
    publisher: Publisher,  # noqa: F811
):
    old = tmp_path / ENTRY.archive
    old.write_bytes(b"what was there")
    publisher.pages["all_runs.zip"] = archive(tmp_path / "other.zip", members()).read_bytes()
    with pytest.raises(InputError, match=r"all_runs\.zip: sha256 .* is not the published 437c1ee"):
        fetch("omniglot-oneshot", tmp_path, base_url=publisher.url, retry=QUICK)
    assert old.read_bytes() == b"what was there"


def test_the_runs_are_no_set_of_images(tmp_path):
    with pytest.raises(InputError, match="`dood oneshot` reads it"):
        load_images("omniglot-oneshot", data_root=tmp_path)
    with pytest.raises(InputError, match=r"--targets omniglot-oneshot: .*dood oneshot"):
        known("omniglot-oneshot", "--targets")


def test_data_list_and_check_know_the_runs(tmp_path, capsys):
    def row(command: str) -> dict[str, object]:
        names = [ENTRY.name] if command == "check" else []
        result = dood(capsys, "data", command, *names, "--data-root", tmp_path, "--json")
        return {r["name"]: r for r in json.loads(result.out)}[ENTRY.name]

    assert row("list")["there"] is False
    refused(dood(capsys, "data", "check", ENTRY.name, "--data-root", tmp_path), "no such file")
    path = archive(tmp_path / ENTRY.archive, members())
    listed, checked = row("list"), row("check")
    assert (listed["there"], listed["where"]) == (True, str(path))
    assert listed["fingerprint"] == checked["fingerprint"]
    assert checked["status"] == "not canonical"
    path.write_bytes(b"broken")
    assert row("list")["there"] is True
    assert row("check")["status"] == "broken"


# ------------------------------------------------------------------------ sampled episodes


def test_a_sampled_episode_is_of_one_alphabet_and_of_two_hands():
    images = load_images("scribbles", "train")
    position = {int(index): k for k, index in enumerate(images.index)}
    episodes = sampled(images, 7, seed=3)
    for episode in episodes:
        support, queries = (
            torch.tensor([position[int(i)] for i in index])
            for index in (episode.support_index, episode.query_index)
        )
        assert images.alphabets is not None
        assert len(set(images.alphabets[torch.cat([support, queries])].tolist())) == 1
        # Twelve classes, each once; a query's class is that of its true support.
        assert len(set(images.labels[support].tolist())) == len(support) == 12
        assert images.labels[queries].tolist() == images.labels[support[episode.truth]].tolist()
        hands = [set((images.index[rows] % 20).tolist()) for rows in (support, queries)]
        assert len(hands[0]) == len(hands[1]) == 1
        assert hands[0] != hands[1]
        assert episode.support.equal(images.images[support])
        assert episode.queries.equal(images.images[queries])
    alphabets = [episode.alphabet for episode in episodes]
    assert len(set(alphabets)) == len(torch.unique(images.alphabets)) == 5
    assert alphabets[5:] == alphabets[:2]


def same(a: oneshot.Episode, b: oneshot.Episode) -> bool:
    pairs = zip(
        (a.support_index, a.query_index, a.truth), (b.support_index, b.query_index, b.truth),
        strict=True,
    )  # fmt: skip
    return all(x.equal(y) for x, y in pairs)


def test_an_episode_is_a_function_of_the_seed_and_its_number():
    images = load_images("scribbles", "train")
    few, many = sampled(images, 2, seed=1), sampled(images, 8, seed=1)
    assert all(map(same, few, many))
    assert not same(few[0], sampled(images, 1, seed=2)[0])
    assert not same(many[0], many[5])  # the same alphabet
    assert many[0].alphabet == many[5].alphabet


def twins(classes: list[int]) -> oneshot.ImageSet:
    """Alphabets of so many classes, two pictures each."""
    labels = torch.arange(sum(classes)).repeat_interleave(2)
    alphabets = torch.arange(len(classes)).repeat_interleave(2 * torch.tensor(classes))
    names = tuple(f"{'abc'[a]}/{k}" for a, count in enumerate(classes) for k in range(count))
    return oneshot.ImageSet(
        "twins", "train", torch.zeros(len(labels), 4, 4, dtype=torch.uint8), labels,
        torch.arange(len(labels)), names, "", "", alphabets,
    )  # fmt: skip


def test_small_alphabets_are_taken_only_where_there_is_no_other():
    episodes = sampled(twins([25, 7, 20]), 4)
    assert [(e.alphabet, len(e.support)) for e in episodes] == [("a", 20), ("c", 20)] * 2
    assert [len(e.support) for e in sampled(twins([7, 9]), 2)] == [7, 9]


def test_a_class_with_one_picture_or_a_set_without_alphabets_is_refused():
    with pytest.raises(InputError, match="digits: has no alphabets"):
        sampled(load_images("digits", "train"), 1)
    lonely = twins([3])
    first = torch.arange(0, 6, 2)
    lonely = dataclasses.replace(
        lonely, images=lonely.images[first], labels=lonely.labels[first], index=first,
        alphabets=torch.zeros(3, dtype=torch.int64),
    )  # fmt: skip
    with pytest.raises(InputError, match="needs two"):
        sampled(lonely, 1)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"kind": "everything"}, "--episodes everything"),
        ({"kind": "background", "part": "test"}, "official runs"),
        ({"kind": "scribbles", "part": "half"}, "--part half"),
        ({"kind": "official", "part": "test"}, "--part test"),
        ({"kind": "scribbles", "limit": 0}, "--limit 0"),
        ({"kind": "background"}, "dood data fetch omniglot"),
        ({"kind": "official"}, "dood data fetch omniglot-oneshot"),
    ],
)
def test_what_cannot_be_had_is_refused(tmp_path, arguments, word):
    with pytest.raises(InputError) as caught:
        load_episodes(**arguments, data_root=tmp_path)
    assert word in str(caught.value)


def test_choices_are_made_on_alphabets_that_no_model_has_seen(data_root):
    chosen = load_episodes("background", data_root=data_root, limit=4)
    assert {episode.part for episode in chosen.episodes} == {"validation"}
    trained = load_images("omniglot", "train", data_root=data_root)
    seen = {trained.classes[int(k)].partition("/")[0] for k in torch.unique(trained.labels)}
    assert not seen & {episode.alphabet for episode in chosen.episodes}
    assert all(len(episode.support) == 20 for episode in chosen.episodes)


def test_scribbles_are_of_the_test_alphabets_and_know_their_strokes():
    from doodcli.data.scribbles import scribbles_arrays

    found = load_episodes("scribbles", limit=2)
    assert [episode.part for episode in found.episodes] == ["test", "test"]
    pictures = scribbles_arrays()["images"]
    for episode in found.episodes:
        assert np.array_equal(pictures[episode.support_index], episode.support.numpy())


def test_models_see_an_episode_as_they_see_every_image():
    small = load_images("scribbles", "test", resolution=24)
    whole = load_images("scribbles", "test")
    assert resized(whole.images, 24).equal(small.images)
    episode = load_episodes("scribbles", limit=1).episodes[0]
    support, queries = episode.at(24)
    position = {int(index): k for k, index in enumerate(small.index)}
    rows = [position[int(i)] for i in episode.support_index]
    assert support.equal(small.images[rows])
    assert queries.shape == (12, 24, 24)
