"""The rendering module as a slot: how a part becomes a picture on the canvas (Section 2.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from doodcli.model.layout import place_image, place_points
from doodcli.model.networks import head
from doodcli.model.renderer import bernstein, saturate, stroke_picture

if TYPE_CHECKING:
    from doodcli.settings import ModelSettings

FAINT_INK = -2.0
"""Logit of the ink that an untrained network puts everywhere: a dark page would hide the strokes
that are there, and a black one has no gradient."""


class SplineDecoder(nn.Module):
    """x_t = δR(l_t ⊙ s_t): a differentiable pen along a Bézier curve; nothing to learn."""

    basis: Tensor

    def __init__(self, settings: ModelSettings) -> None:
        super().__init__()
        self.settings = settings
        # A part of the model, which moves with it: a constant from the host would hold up a device.
        basis = bernstein(settings.points, settings.curve_samples)
        self.register_buffer("basis", basis, persistent=False)

    def forward(
        self, where: Tensor, part: Tensor, pen: Tensor, affine: Tensor | None = None
    ) -> Tensor:
        """The picture of control points `part` `[n, points, 2]` placed by `where` `[n, 4]`.

        `pen` `[n, 3]`; `affine` `[n, 2, 3]` maps the canvas after that → `[n, R, R]`.  The
        setting `place` says whether the layout moves the points, as in the text, or the picture.
        """
        s = self.settings
        # A decoder that is made from this one may draw curves of another number of points.
        samples = self.basis if part.shape[1] == s.points else s.curve_samples
        if s.place == "image":
            picture = stroke_picture(part, pen, samples, s.resolution)
            return place_image(where, picture, affine)
        points = place_points(where, part)
        if affine is not None:
            points = points @ affine[:, :, :2].transpose(1, 2) + affine[:, None, :, 2]
        return stroke_picture(points, pen, samples, s.resolution)


class NeuralDecoder(nn.Module):
    """A network draws the part in its own frame; the inverse spatial transformer places it.

    The decoder of AIR, and of DooD without its renderer (−δR), which keeps the pen's slope.
    """

    def __init__(self, settings: ModelSettings) -> None:
        super().__init__()
        s = settings
        self.side, self.has_pen = s.resolution, s.pen != "none"
        pixels = self.side * self.side
        self.network = head(s.part_size, s.hidden, pixels, torch.full((pixels,), FAINT_INK))

    def forward(
        self, where: Tensor, part: Tensor, pen: Tensor, affine: Tensor | None = None
    ) -> Tensor:
        """The picture of a code or of control points `part` `[n, groups, size]`; see above."""
        picture = torch.sigmoid(self.network(part.flatten(1)).float())
        if self.has_pen:
            picture = saturate(picture, pen[:, 1])
        return place_image(where, picture.unflatten(1, (self.side, self.side)), affine)


DECODERS: dict[str, type[SplineDecoder | NeuralDecoder]] = {
    "spline": SplineDecoder,
    "neural": NeuralDecoder,
}
