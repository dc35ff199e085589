"""What FID looks at: features of pictures, through torch-fidelity.

torch-fidelity is an extra, and its import takes seconds: :func:`require` comes before anything
that needs it, and says so in a line where it is missing.
"""

from __future__ import annotations

import hashlib
from contextlib import AbstractContextManager, nullcontext
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset

from doodcli.errors import InputError
from doodcli.learning.features import SHIPPED, open_features

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

FEATURES = ("strokes", "inception-64", "inception-2048")
"""What --features takes: our own extractor, and two layers of torch-fidelity's Inception."""

# torch-fidelity's Inception, a pickle: it is only opened when it is this very file.
INCEPTION_FILE = "weights-inception-2015-12-05-6726825d.pth"
INCEPTION_SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"

BATCH = {"strokes": 500, "inception-64": 50, "inception-2048": 50}
"""Pictures that go through an extractor at a time."""


def require() -> ModuleType:
    """torch-fidelity.  InputError where it is not installed."""
    try:
        import torch_fidelity  # noqa: PLC0415  (an extra)
    except ImportError as error:
        raise InputError(
            f"`dood fid score` needs torch-fidelity, which is not there ({error}); "
            "install it with: pip install 'doodcli[fid]'"
        ) from None
    return torch_fidelity


class Extractor(NamedTuple):
    """Which features, of which weights."""

    features: str
    """one of FEATURES"""
    layer: str
    """its name in torch-fidelity"""
    weights: Path
    """torch-fidelity's file, or the folder of an extractor of ours"""
    digest: str
    """of the weights"""

    @property
    def size(self) -> int:
        """Numbers in the features of a picture."""
        return int(self.layer)

    @property
    def registered(self) -> str:
        """Its name in torch-fidelity; ours has the digest, as a name stands for one network."""
        return f"dood-ink-{self.digest}" if self.features == "strokes" else "inception-v3-compat"


def chosen(
    features: str, weights: Path | None = None, tell: Callable[[str], None] = lambda _: None
) -> Extractor:
    """The extractor of --features and --weights; no weights are opened that were not checked.

    Ours is the one that ships, or that of a folder of `dood fid train-features`; Inception's file
    is fetched where it is not there yet.
    """
    if features not in FEATURES:
        raise InputError(f"--features {features}: choose from {', '.join(FEATURES)}")
    if features == "strokes":
        found = open_features(weights or SHIPPED)
        return Extractor(features, str(found.settings.size), found.path, found.digest)
    path = _fetched(tell) if weights is None else weights
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"--weights {path}: cannot be read ({error.strerror})") from None
    if digest != INCEPTION_SHA256:
        raise InputError(
            f"--weights {path}: is not {INCEPTION_FILE} of torch-fidelity (its sha256 is "
            f"{digest[:16]}…, not {INCEPTION_SHA256[:16]}…); it was not opened"
        )
    return Extractor(features, features.removeprefix("inception-"), path, digest[:16])


def _fetched(tell: Callable[[str], None]) -> Path:
    """Inception's weights where torch-fidelity keeps them; from the network at the first use."""
    path = Path(torch.hub.get_dir()) / "checkpoints" / INCEPTION_FILE
    if path.is_file():
        return path
    url = require().feature_extractor_inceptionv3.URL_INCEPTION_V3
    tell(f"fetching {INCEPTION_FILE}, 91 MiB")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(path), INCEPTION_SHA256, progress=False)
    except (OSError, RuntimeError) as error:
        raise InputError(
            f"{INCEPTION_FILE}: could not be fetched ({error}); get it from {url} and name it "
            "with --weights, or take --features strokes, which need no network"
        ) from None
    return path


class Judge:
    """An extractor that is ready to look at pictures."""

    def __init__(self, extractor: Extractor, device: str) -> None:
        fidelity = require()
        self.extractor, self.device = extractor, device
        self.version = version("torch-fidelity")
        # torch-fidelity knows "the current accelerator" and the processor, no other device.
        self.cuda = device.startswith("cuda")
        if extractor.registered not in fidelity.registry.FEATURE_EXTRACTORS_REGISTRY:
            fidelity.register_feature_extractor(extractor.registered, _of_ink(extractor.layer))
        with self._device():
            self.network = fidelity.utils.create_feature_extractor(
                extractor.registered, [extractor.layer], cuda=self.cuda, verbose=False,
                feature_extractor_weights_path=str(extractor.weights),
            )  # fmt: skip

    def _device(self) -> AbstractContextManager[object]:
        return torch.cuda.device(self.device) if self.cuda else nullcontext()

    def features(self, pictures: Tensor) -> Tensor:
        """Features, float64 `[n, size]`, of pictures uint8 `[n, R, R]`, white ink on black."""
        channels = 1 if self.extractor.features == "strokes" else 3
        with self._device():
            found = require().utils.get_featuresdict_from_dataset(
                Pictures(pictures, channels), self.network, BATCH[self.extractor.features],
                cuda=self.cuda, save_cpu_ram=True, verbose=False,
            )  # fmt: skip
        return found[self.extractor.layer].double()


class Pictures(Dataset[Tensor]):
    """Pictures as torch-fidelity reads them: a uint8 tensor `[channels, R, R]` each."""

    def __init__(self, pictures: Tensor, channels: int) -> None:
        self.pictures, self.channels = pictures, channels

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, position: int) -> Tensor:
        return self.pictures[position].expand(self.channels, -1, -1)


def _of_ink(layer: str) -> type:
    """The class of our extractor with the features `layer`, of which torch-fidelity makes one."""
    base: Any = require().FeatureExtractorBase

    class InkFeatures(base):
        """Features of :class:`doodcli.learning.features.InkClassifier`."""

        def __init__(
            self,
            name: str,
            features_list: list[str],
            feature_extractor_weights_path: str,
            **_: Any,
        ) -> None:
            super().__init__(name, features_list)
            self.classifier = open_features(Path(feature_extractor_weights_path)).network()

        @staticmethod
        def get_provided_features_list() -> tuple[str, ...]:
            return (layer,)

        @staticmethod
        def get_default_feature_layer_for_metric(metric: str) -> str:  # noqa: ARG004
            return layer

        @staticmethod
        def can_be_compiled() -> bool:
            return False

        def forward(self, pictures: Tensor) -> tuple[Tensor]:
            return (self.classifier.features(pictures[:, 0]),)

    return InkFeatures
