"""Every setting of a run: what it means, its default, and the named presets.

One frozen dataclass tree is at once the defaults, the help of ``--set`` and the record that is
saved beside each result.  A preset changes some fields; ``--settings FILE`` and ``--set`` change
more; the result travels as one :class:`Settings` value.
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import json
import math
import types
import typing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from doodcli.errors import InputError
from doodcli.variants import SLOTS, VARIANTS, slots

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path


def _option(default: Any, text: str) -> Any:
    """A field with its help text."""
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True)
class ModelSettings:
    """The model of Section 2 of the paper."""

    name: str = _option("dood", "model variant: sets what follows as doodcli/variants.py has it")
    latent: Literal["points", "code"] = _option(
        "points", "a part is control points of a curve, or an appearance code"
    )
    decoder: Literal["spline", "neural"] = _option(
        "spline", "a part is drawn by the spline renderer, or by a network in the part's frame"
    )
    guidance: bool = _option(True, "prior and posterior are told the canvas and the residual")
    prior: Literal["learned", "fixed"] = _option(
        "learned", "sequential and learned, or fixed and independent"
    )
    memories: Literal["two", "one"] = _option(
        "two", "recurrent states: of layouts and of parts, or one of both"
    )
    code: int = _option(10, "size of an appearance code (AIR in the paper: 10)")
    resolution: int = _option(50, "pixels a side of every image (the paper: 50)")
    strokes: int = _option(6, "most strokes of a drawing (the paper: 6)")
    points: int = _option(5, "control points of a stroke, D + 1 of Eq. 3 (the paper: 5)")
    components: int = _option(20, "mixture components of the prior, M of Eq. 2 and K of Eq. 3")
    mixture: Literal["point", "stroke"] = _option(
        "point",
        "what a component of Eq. 3 is of: a control point (the paper), or the whole stroke",
    )
    curve_samples: int = _option(64, "points at which a curve is inked, evenly spaced in time")
    pen: Literal["latent", "global", "amortised", "none"] = _option(
        "latent", "ink width and slopes: latent of the image, shared, leaked from the target, none"
    )
    place: Literal["points", "image"] = _option(
        "points", "put a stroke in its place by moving its points (the text) or its picture"
    )
    scale_least: float = _option(0.2, "least scale of a layout")
    scale_most: float = _option(1.0, "largest scale of a layout: how long a stroke can be")
    shift_most: float = _option(0.8, "largest shift of a layout, in half canvases")
    rotation_most: float = _option(math.pi / 4, "largest rotation of a layout, in radians")
    point_reach: float = _option(1.4, "largest mean of a control point, in half glimpses")
    glimpse: int = _option(24, "pixels a side of a glimpse")
    glimpse_margin: float = _option(1.2, "how far a glimpse sees, in half frames of its stroke")
    stride: int = _option(
        4, "stride of an image encoder's first convolution; the others' is 2, a kernel 1 larger"
    )
    channels: tuple[int, ...] = _option((16, 32), "channels of an image encoder's convolutions")
    glimpse_encoder: Literal["patches", "convolutions"] = _option(
        "patches", "a glimpse encoder's layers: of patches side by side, or 3×3 convolutions"
    )
    glimpse_channels: tuple[int, ...] = _option((48, 96), "channels of a glimpse encoder's layers")
    features: int = _option(192, "width of an image's embedding")
    hidden: int = _option(256, "width of the recurrent states and of the heads' hidden layers")
    likelihood: Literal["laplace", "normal"] = _option(
        "laplace", "of a pixel around the canvas (the paper: Laplace; AIR on Omniglot also normal)"
    )
    scale_floor: float = _option(0.01, "least scale of a pixel's likelihood (the paper: 0.01)")

    @property
    def part_shape(self) -> tuple[int, int]:
        """The latent of one part, as independent groups of coordinates that belong together."""
        return (self.points, 2) if self.latent == "points" else (1, self.code)

    @property
    def part_size(self) -> int:
        """The number of coordinates of one part."""
        groups, size = self.part_shape
        return groups * size

    @property
    def canvas_features(self) -> int:
        """Width of what prior and posterior are told of the canvas."""
        return self.features if self.guidance else 0


@dataclass(frozen=True)
class LearningSettings:
    """How a model is trained (Section 2.3)."""

    steps: int | None = _option(None, "gradient steps; the end of the schedule")
    minutes: float | None = _option(None, "minutes of training, instead of steps")
    batch_size: int = _option(64, "images a step")
    lr: float = _option(1e-3, "Adam's rate after the warm-up")
    pen_lr_factor: float = _option(10.0, "rate of the global pen and the pen's prior, times lr")
    warmup_steps: int = _option(200, "steps over which the rate rises from 0")
    decay_from: float = _option(0.5, "fraction of the run after which the rate falls to 0")
    clip: float = _option(1.0, "largest gradient norm, for a loss in nats a pixel")
    kl_start: float = _option(0.1, "weight of the KL at the first step")
    kl_steps: int = _option(1000, "steps over which the weight of the KL rises to 1")
    scale_memory: float = _option(0.99, "memory of the running mean that sets the Laplace scales")
    scale_start: float = _option(0.1, "floor of the Laplace scales at the first step")
    scale_steps: int = _option(500, "steps over which that floor falls to its final value")
    blur_start: float = _option(4.0, "pixels by which canvas and target are blurred at first")
    blur_steps: int = _option(500, "steps over which that blur falls to 0")
    beta: float = _option(1.0, "weight on the stopping variable (Section 2.3); reports have 1")
    beta_start: float | None = _option(None, "that weight at the first step; none: the same")
    beta_steps: int = _option(2000, "steps over which it rises, or falls, to beta")
    beta_on: Literal["stop", "signal"] = _option(
        "signal", "beta weighs the stopping KL (the text) or divides the likelihood in the signal"
    )
    signal_weight: float = _option(0.002, "weight of the score-function loss beside nats a pixel")
    signal_memory: float = _option(0.8, "memory of the moving mean and variance of NVIL's signal")
    signal_scaling: bool = _option(True, "divide NVIL's signal by its moving standard deviation")
    stop_delay: int = _option(300, "steps before the stopping posterior starts to learn")
    draw_bias: float = _option(0.0, "logit of going on with which the stopping posterior starts")


@dataclass(frozen=True)
class DataSettings:
    """What a model is trained on."""

    dataset: str = _option("mnist", "name of a data set, or a path to one")
    transpose: bool = _option(False, "swap the axes of the images (the paper's EMNIST)")
    limit: int | None = _option(None, "train on a seeded random subset of this many images")


@dataclass(frozen=True)
class Settings:
    """All that decides what a run computes; not where or how fast."""

    model: ModelSettings = ModelSettings()
    learning: LearningSettings = LearningSettings()
    data: DataSettings = DataSettings()
    preset: str = _option("laptop", "the preset that the settings started from")
    seed: int = _option(0, "seed of the weights, the batches and the latent noise")


LENGTHS = ("learning.steps", "learning.minutes")
"""Settings of which exactly one is given."""

UNDECIDING = ("preset", "data.dataset")
"""Settings that decide nothing by themselves: what they stand for is in the others."""

NEUTRAL: dict[str, Any] = {
    **SLOTS,
    "model.code": 10,
    "model.mixture": "point",
    "model.likelihood": "laplace",
    "model.glimpse_encoder": "convolutions",
    "model.stride": 2,
    "model.scale_most": 1.0,
    "learning.blur_start": 0.0,
    "learning.blur_steps": 500,
    "learning.beta_start": None,
    "learning.beta_steps": 2000,
}
"""Settings that a record may lack because they came later, with the value that does what was done
before them.  With that value they do not count in the hash, so that they rename no run."""

# What may not differ where a number stands beside the paper's (a test asserts it).
PAPER_PROTOCOL: dict[str, Any] = {
    "resolution": 50,
    "strokes": 6,
    "scale_floor": 0.01,
    "samples": 200,
}

PRESETS: dict[str, dict[str, Any]] = {
    "tiny": {
        "model.channels": (8, 16),
        "model.glimpse_channels": (8, 16),
        "model.features": 32,
        "model.hidden": 32,
        "model.components": 4,
        "model.curve_samples": 32,
        "learning.steps": 6,
        "learning.stop_delay": 2,
        "learning.kl_steps": 4,
        "learning.scale_steps": 4,
        "learning.blur_steps": 3,
        "learning.batch_size": 16,
        "learning.warmup_steps": 2,
    },
    "smoke": {
        "model.features": 128,
        "model.hidden": 128,
        "model.components": 10,
        "model.curve_samples": 48,
        "learning.minutes": 2.2,
        "learning.batch_size": 32,
        "learning.decay_from": 0.6,
        "learning.kl_steps": 400,
        "learning.scale_steps": 300,
        "learning.warmup_steps": 50,
        # So short a run ends before a stroke is worth four times its cost, and a third of it under
        # a blur leaves the strokes in a pile.
        "learning.beta": 1.0,
        "learning.draw_bias": 1.0,
        "learning.blur_start": 0.0,
    },
    "laptop": {"learning.minutes": 60.0},
    "paper": {
        "model.components": 40,
        "model.curve_samples": 100,
        "learning.steps": 8_400,
        "learning.batch_size": 256,
        "learning.lr": 2e-3,
    },
}


TUNED: dict[str, dict[str, dict[str, Any]]] = {
    # Thick ink: one long stroke covers a digit, and with β = 1 five more are laid on top of it.
    "mnist": {
        "points": {"learning.beta": 4.0, "model.scale_most": 0.4},
        # With 4 and 5 AIR uses all six parts on everything; with 12, one.
        "code": {"learning.beta": 7.0},
    },
    # Letters and digits of the same collection as MNIST's.
    "emnist": {
        "points": {"learning.beta": 4.0, "model.scale_most": 0.4},
        "code": {"learning.beta": 3.0},
    },
    # Lines as thin as Omniglot's in arches and loops, which short strokes follow; strokes of at
    # most .25 are too short to be worth drawing at first, and the model draws none.
    "quickdraw": {"points": {"model.scale_most": 0.35}},
}
"""What every preset changes for a data set, of models whose parts are points or codes; chosen on
images that are no test images (docs/model.md says which)."""


def preset(name: str, dataset: str = "", model: str = "dood") -> Settings:
    """The settings of a named preset, for a data set and a model variant.

    InputError when the preset or the variant is unknown.
    """
    if name not in PRESETS:
        raise InputError(f"--preset {name}: no such preset; choose from {', '.join(PRESETS)}")
    settings = change(
        dataclasses.replace(Settings(), preset=name), {**PRESETS[name], "model.name": model}
    )
    return change(settings, TUNED.get(dataset, {}).get(settings.model.latent, {}))


def change(settings: Settings, values: dict[str, Any]) -> Settings:
    """Settings with some fields changed; keys are dotted, as in ``model.strokes``."""
    # A variant sets what it is made of, so its name comes before what is changed of that.
    for key, value in sorted(values.items(), key=lambda item: item[0] != "model.name"):
        room, _, name = key.rpartition(".")
        owner = getattr(settings, room, None) if room else settings
        if not dataclasses.is_dataclass(owner) or name not in _types(owner):
            raise InputError(f"{key}: no such setting{_nearest(key, settings)}")
        kind = _types(owner)[name]
        if dataclasses.is_dataclass(kind):
            raise InputError(f"{key}: is a group of settings; name one of them, as {key}.…=VALUE")
        checked = _convert(key, value, kind)
        if key == "model.name":
            settings = _with_slots(settings, checked)
            owner = settings.model
        changed: Any = dataclasses.replace(owner, **{name: checked})  # type: ignore[type-var]
        settings = with_rooms(settings, **{room: changed}) if room else changed
    return settings


def _with_slots(settings: Settings, name: str) -> Settings:
    """Settings with the slots of another variant, and without what the present one had set."""
    if name not in VARIANTS:
        raise InputError(f"model.name={name}: choose from {', '.join(VARIANTS)}")
    if name == settings.model.name:
        return settings
    usual = flat(Settings())
    left = {key: usual[key] for key in VARIANTS[settings.model.name]}
    return change(settings, {**left, **slots(name)})


def override(settings: Settings, values: dict[str, Any]) -> Settings:
    """Settings changed by a user's values, of which a length replaces the one that was there.

    A preset has its length in steps or in minutes; who gives the other means it instead.
    """
    given = [name for name in LENGTHS if name in values]
    return change(settings, {**(dict.fromkeys(LENGTHS) if given else {}), **values})


def with_rooms(settings: Settings, **rooms: Any) -> Settings:
    """Settings with whole rooms, or fields outside any room, replaced."""
    return dataclasses.replace(settings, **rooms)


def change_by_text(settings: Settings, assignments: Iterable[str]) -> Settings:
    """Settings changed by texts such as ``model.strokes=8`` (the option ``--set``)."""
    values = {}
    for text in assignments:
        key, equals, value = text.partition("=")
        if not equals:
            raise InputError(f"--set {text}: not of the form NAME=VALUE, as in model.strokes=8")
        values[key.strip()] = value.strip()
    return override(settings, values)


def as_dict(settings: Settings) -> dict[str, Any]:
    """Plain nested values, fit for JSON."""
    return json.loads(json.dumps(dataclasses.asdict(settings)))


def from_dict(values: dict[str, Any], source: str = "settings") -> Settings:
    """The settings that :func:`as_dict` gave; `source` names the file in an error."""
    try:
        return change(Settings(), {**NEUTRAL, **dict(_leaves(values))})
    except (InputError, AttributeError, TypeError) as error:
        raise InputError(f"{source}: {error}") from None


def read_settings(path: Path, onto: Settings) -> Settings:
    """Settings changed by a JSON file of nested or dotted names (the option ``--settings``)."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return override(onto, dict(_leaves(values)))
    except OSError as error:
        raise InputError(f"--settings {path}: cannot be read ({error.strerror})") from None
    except (ValueError, AttributeError):
        raise InputError(f"--settings {path}: not a JSON object of settings") from None


def flat(settings: Settings) -> dict[str, Any]:
    """Every setting by its dotted name."""
    return dict(_leaves(as_dict(settings)))


def settings_hash(settings: Settings, fingerprint: str) -> str:
    """Eight hex digits for a run: its settings and the fingerprint of its data.

    How long it trains counts, so that two lengths are two runs; the name of the preset and the
    path of the data do not, because what they stand for is in the rest.
    """
    values = {
        name: value
        for name, value in flat(settings).items()
        if name not in UNDECIDING and (name not in NEUTRAL or value != NEUTRAL[name])
    }
    text = json.dumps([values, fingerprint], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def describe() -> list[tuple[str, str]]:
    """(dotted name, help) of every setting, in order."""
    rows = []
    for room in dataclasses.fields(Settings):
        value = getattr(Settings(), room.name)
        if dataclasses.is_dataclass(value):
            items = dataclasses.fields(value)
            rows += [(f"{room.name}.{item.name}", item.metadata["help"]) for item in items]
        else:
            rows.append((room.name, room.metadata["help"]))
    return rows


def check(settings: Settings) -> Settings:
    """The settings, if a model can be built and trained with them; else InputError."""
    model, learning = settings.model, settings.learning
    least = {
        "model.resolution": (model.resolution, 8),
        "model.strokes": (model.strokes, 1),
        "model.points": (model.points, 2),
        "model.components": (model.components, 1),
        "model.curve_samples": (model.curve_samples, 2),
        "model.stride": (model.stride, 1),
        "model.glimpse": (model.glimpse, 8),
        "model.features": (model.features, 1),
        "model.hidden": (model.hidden, 1),
        "model.code": (model.code, 1),
        "learning.batch_size": (learning.batch_size, 2),
        "learning.steps": (1 if learning.steps is None else learning.steps, 1),
    }
    for name, (value, smallest) in least.items():
        if value < smallest:
            raise InputError(f"{name}={value}: must be at least {smallest}")
    above_zero = {
        "learning.lr": learning.lr,
        "learning.clip": learning.clip,
        "learning.beta": learning.beta,
        "learning.beta_start": learning.beta
        if learning.beta_start is None
        else learning.beta_start,
        "model.scale_floor": model.scale_floor,
        "learning.minutes": 1.0 if learning.minutes is None else learning.minutes,
    }
    for name, number in above_zero.items():
        if not number > 0:
            raise InputError(f"{name}={number}: must be above 0")
    _check_ranges(settings)
    if (learning.steps is None) == (learning.minutes is None):
        raise InputError("learning.steps and learning.minutes: give one of the two")
    _check_variant(model)
    return settings


def _check_ranges(settings: Settings) -> None:
    """InputError for a number outside the range in which it means something."""
    model, learning = settings.model, settings.learning
    ranges = {
        "model.scale_least": (model.scale_least, 0.01, 0.99),
        "model.scale_most": (model.scale_most, model.scale_least + 0.01, 2.0),
        "model.shift_most": (model.shift_most, 0.01, 2.0),
        "model.rotation_most": (model.rotation_most, 0.01, math.pi),
        "model.point_reach": (model.point_reach, 0.1, 10.0),
        "model.glimpse_margin": (model.glimpse_margin, 0.1, 10.0),
        "model.scale_floor": (model.scale_floor, 1e-6, 1.0),
        "learning.decay_from": (learning.decay_from, 0.0, 1.0),
        "learning.blur_start": (learning.blur_start, 0.0, 100.0),
        "learning.blur_steps": (learning.blur_steps, 0, math.inf),
        "learning.beta_steps": (learning.beta_steps, 0, math.inf),
        "learning.kl_start": (learning.kl_start, 0.0, 1.0),
        "learning.scale_memory": (learning.scale_memory, 0.0, 0.9999),
        "learning.signal_memory": (learning.signal_memory, 0.0, 0.9999),
        "seed": (settings.seed, 0, 2**32 - 1),
    }
    for name, (value, low, high) in ranges.items():
        if not low <= value <= high:
            raise InputError(f"{name}={value}: must be from {low:g} to {high:g}")
    for name in ("channels", "glimpse_channels"):
        widths = getattr(model, name)
        if not widths or min(widths) < 1:
            raise InputError(f"model.{name}={widths}: needs one channel or more in each layer")


def _check_variant(model: ModelSettings) -> None:
    """InputError where the settings are not those of the variant that they are named after."""
    wanted = slots(model.name)
    for name in SLOTS:
        value = getattr(model, name.removeprefix("model."))
        if value != wanted[name]:
            raise InputError(
                f"{name}={value}: {model.name} has {wanted[name]}; variants are named in "
                f"doodcli/variants.py, and a new one is an entry there"
            )
    if (model.pen == "none") != (model.latent == "code"):
        raise InputError(
            f"model.pen={model.pen}: {model.name} has {wanted.get('model.pen', 'latent')}; "
            "a pen draws strokes, not appearance codes"
        )
    if model.latent == "code" and (model.decoder, model.prior) != ("neural", "fixed"):
        raise InputError("model.latent=code: goes with model.decoder=neural and model.prior=fixed")
    if model.prior == "fixed" and model.mixture == "stroke":
        raise InputError(f"model.mixture=stroke: {model.name} has a fixed prior, without mixtures")
    if model.decoder == "neural" and model.place == "points":
        raise InputError(
            f"model.place=points: {model.name} has no curve whose points could be moved; its "
            "pictures are (model.place=image)"
        )


def _leaves(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _types(owner: Any) -> dict[str, Any]:
    return typing.get_type_hints(type(owner))


def _nearest(key: str, settings: Settings) -> str:
    near = difflib.get_close_matches(key, flat(settings), n=1)
    return f"; did you mean {near[0]}?" if near else "; `dood settings` lists them all"


def _convert(key: str, value: Any, kind: Any) -> Any:
    """A value of the field's type, from that type or from text."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        if value not in arguments:
            raise InputError(f"{key}={value}: choose from {', '.join(map(str, arguments))}")
        return value
    if origin in (typing.Union, types.UnionType):
        if value is None or value == "none":
            return None
        return _convert(key, value, next(a for a in arguments if a is not type(None)))
    if origin is tuple:
        parts = value.split(",") if isinstance(value, str) else value
        if not isinstance(parts, list | tuple):
            raise InputError(f"{key}={value}: must be a list")
        return tuple(_convert(key, part, arguments[0]) for part in parts)
    if kind is bool and isinstance(value, str):
        if value.lower() not in ("true", "false"):
            raise InputError(f"{key}={value}: must be true or false")
        return value.lower() == "true"
    try:
        number = kind(value)
        # From JSON: 8.7 is no int, null no text and true no number.
        lossless = isinstance(value, str | kind) or number == value
        if not lossless or isinstance(value, bool) != (kind is bool):
            raise TypeError
    except (TypeError, ValueError):
        raise InputError(f"{key}={value}: must be of type {kind.__name__}") from None
    if kind is float and not math.isfinite(number):
        raise InputError(f"{key}={value}: must be finite")
    return number
