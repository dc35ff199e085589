"""The numbers that the paper reports, to stand beside ours.

Log marginal likelihoods are nats an image, IWAE with 200 samples, 50×50, Laplace; (mean, standard
deviation over seeds).  Those of AIR trained on Omniglot are one-sample ELBOs of a model with a
Gaussian likelihood, and the bound of every DooD model leaks the target into the pen.
"""

from __future__ import annotations

from itertools import starmap
from typing import NamedTuple

Number = tuple[float, float | None]

SETS = ("mnist", "emnist", "kmnist", "quickdraw", "omniglot")
"""The data sets, in the order of the paper's tables."""

_DOOD = """
7094.0 57.9   4413.9 233.9  -2859.4 492.4  -2531.6 487.5   4808.4 198.3
6803.9  4.5   6504.1   2.4   1709.3 166.3   3486.7  70.1   6259.2  41.2
6221.1 27.8   5667.4  29.7   4780.2  14.5   4072.2  22.0   5654.4  78.4
5939.6 69.5   5465.5  76.4   2809.2 192.8   4859.2  90.3   5565.8  68.8
5308.7 134.6  1684.2 396.5  -1959.3 356.5  -1994.1 308.0   7385.9   6.8
"""

_AIR_DIFFERENCE = """
7020.7 16.9   2734.8  93.5  -6601.8 165.8  -5792.0 336.5   3648.9 117.3
6668.2 20.1   6549.0   5.5    878.1  81.5   2963.2  24.4   5503.8  43.2
6207.0 82.2   5618.4  72.1   4772.3  69.9   3704.3  81.7   5249.7  38.5
5472.1 48.5   4809.1  65.8   1153.2  98.3   4497.8  56.8   5141.4  54.2
1424.7 214.1 -9510.9 796.9 -101900 5066.6 -29747.1 1443.7  -731.9 159.2
"""

# Fig. 4's DooD places the picture of a stroke; the row `dood` here places its points, as the
# text says.
_ABLATIONS = """
dood     7056.5 44.5   3748.5 551.9  -4205.7 1106.3  -3578.2 975.3   4096.5 302.3
dood-eg  7053.5 195.8  2805.9 802.8  -6344.3 1834.7  -4411.2 1572.8  3878.8 512.5
dood-sp  6983.0 42.0   4149.5 296.8  -3201.9  719.3  -2748.4 615.1   4715.2 303.3
dood-dr  6407.0 119    1650.0   nan  -6470.0 1930.0  -4372.0 1279    4002.0 274
"""

# On MNIST, EMNIST, KMNIST and QuickDraw, of models trained on each of SETS; on Omniglot, whose
# test classes are others than its training classes, there is no probe.
_PROBE_DOOD = """
.95 .53 .49 .67
.86 .68 .46 .65
.78 .54 .66 .70
.83 .50 .45 .83
.78 .48 .44 .64
"""

_PROBE_AIR_DIFFERENCE = """
.95 .50 .46 .66
.83 .73 .50 .76
.80 .56 .72 .72
.80 .54 .52 .85
.74 .42 .43 .68
"""


def _numbers(words: list[str]) -> dict[str, Number]:
    """A row of a table by its targets."""
    values = [float(word) for word in words]
    pairs = zip(values[::2], values[1::2], strict=True)
    known = starmap(lambda mean, std: (mean, None if std != std else std), pairs)  # noqa: PLR0124
    return dict(zip(SETS, known, strict=True))


def _square(text: str) -> dict[str, dict[str, Number]]:
    rows = [_numbers(line.split()) for line in text.strip().splitlines()]
    return dict(zip(SETS, rows, strict=True))


TRANSFER: dict[str, dict[str, dict[str, Number]]] = {
    "dood": _square(_DOOD),
    "air-difference": _square(_AIR_DIFFERENCE),
}
"""Fig. 4: by model, source and target."""

ABLATIONS: dict[str, dict[str, Number]] = {
    name: _numbers(words) for name, *words in map(str.split, _ABLATIONS.strip().splitlines())
}
"""Trained on MNIST: by model and target."""

ONE_SAMPLE = {("air-difference", "omniglot")}
"""(model, source) whose row is no IWAE bound but an ELBO of one sample."""


def _accuracies(text: str) -> dict[str, dict[str, float]]:
    rows = [map(float, line.split()) for line in text.strip().splitlines()]
    return {
        source: dict(zip(SETS, row, strict=False)) for source, row in zip(SETS, rows, strict=True)
    }


PROBE: dict[str, dict[str, dict[str, float]]] = {
    "dood": _accuracies(_PROBE_DOOD),
    "air-difference": _accuracies(_PROBE_AIR_DIFFERENCE),
}
"""Accuracy of linear probes, by model, source and target; from the authors' code, not the text."""

SILHOUETTE = {"dood": 0.21, "air-difference": 0.11}
"""Of 8 clusters of strokes or codes, by model, trained on MNIST; AIR is Difference-AIR there."""


class Reported(NamedTuple):
    """An accuracy on the 20 official one-shot runs, as others report it."""

    model: str
    da: bool | None
    """data augmentation"""
    es: bool | None
    """extra supervision: strokes or labels"""
    two_way: bool | None
    accuracy: float
    """in [0, 1]"""
    reference: str
    """who reports it"""


ONE_SHOT = (
    Reported("AIR", False, False, False, 0.145, "Table 1"),
    Reported("DooD", False, False, False, 0.735, "Table 1"),
    Reported("VHE", True, True, False, 0.813, "Hewitt et al. 2018, in Table 1"),
    Reported("GNS", False, True, True, 0.943, "Feinman and Lake 2020, in Table 1"),
    Reported("BPL", False, True, True, 0.967, "Lake et al. 2015, in Table 1"),
    Reported("people", None, None, None, 0.955, "Lake et al. 2015"),
)
"""Table 1, 20 ways within an alphabet; and people, of whom it does not speak."""

FID: dict[str, dict[str, Number]] = {
    "dood": {
        "mnist": (0.134, 0.013),
        "emnist": (0.137, 0.006),
        "kmnist": (0.123, 0.020),
        "quickdraw": (0.084, 0.009),
        "omniglot": (0.051, 0.007),
    }
}
"""Fig. 6, of tempered samples, by model and data set: of an ImageNet classifier's logits at 128
pixels, 1,500 pictures, so on a scale that nobody else's FID has."""

FID_FLOOR: dict[str, Number] = {"omniglot": (0.025, 0.004)}
"""Of real images against real images, on that scale."""
