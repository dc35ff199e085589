"""The registry: names, the publishers' checksums, and what makes a file not canonical."""

import numpy as np
import pytest

from doodcli.data.registry import DATA_SETS, data_set, departure
from doodcli.errors import InputError


def test_an_unknown_name_is_answered_with_close_and_known_ones() -> None:
    with pytest.raises(InputError, match=r"did you mean kmnist or mnist\?|did you mean") as caught:
        data_set("kmnits")
    assert "kmnist" in str(caught.value).split("?")[0]
    assert all(name in str(caught.value) for name in DATA_SETS)


def test_checksums_and_addresses_are_those_that_torchvision_knows() -> None:
    from torchvision import datasets

    for name, cls in (("mnist", datasets.MNIST), ("kmnist", datasets.KMNIST)):
        found = [(source.path, source.md5) for source in data_set(name).sources]
        assert found == cls.resources
        assert f"{data_set(name).base_url}/" in cls.mirrors
    emnist = data_set("emnist")
    assert emnist.sources[0].md5 == datasets.EMNIST.md5
    assert f"{emnist.base_url}/{emnist.sources[0].path}" == datasets.EMNIST.url
    assert list(emnist.class_names) == datasets.EMNIST.classes_split_dict["balanced"]
    omniglot = data_set("omniglot")
    assert omniglot.base_url == datasets.Omniglot.download_url_prefix
    zips = {source.path.removesuffix(".zip"): source.md5 for source in omniglot.sources}
    assert zips == datasets.Omniglot.zips_md5


def some(name: str, n_train: int, n_test: int, classes: list[str]) -> dict[str, np.ndarray]:
    return {"split": np.repeat([0, 1], [n_train, n_test]), "classes": np.array(classes)}


def test_a_canonical_file_has_no_remark() -> None:
    emnist = data_set("emnist")
    assert departure(emnist, some("emnist", 112_800, 18_800, list(emnist.class_names))) == ""
    quickdraw = data_set("quickdraw")
    underscored = [label.replace(" ", "_") for label in sorted(quickdraw.class_names)]
    assert departure(quickdraw, some("quickdraw", 40_000, 10_000, underscored)) == ""


def test_other_counts_and_categories_are_named() -> None:
    emnist = data_set("emnist")
    remark = departure(emnist, some("emnist", 93_785, 15_620, list(emnist.class_names)))
    assert remark == "balanced-like: 93,785/15,620 images instead of 112,800/18,800"
    quickdraw = data_set("quickdraw")
    classes = [label for label in quickdraw.class_names if label != "cell phone"]
    remark = departure(quickdraw, some("quickdraw", 40_000, 10_000, [*classes, "alarm_clock"]))
    assert remark == "other categories: alarm clock instead of cell phone"
    small = {"images": np.zeros((1, 14, 14), np.uint8)}
    digits = some("mnist", 60_000, 10_000, list("0123456789"))
    assert departure(data_set("mnist"), digits | small) == "14×14 pixels instead of 28×28"
