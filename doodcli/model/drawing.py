"""The value that flows between the model and the experiments."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

if TYPE_CHECKING:
    from torch import Tensor


class Drawing(NamedTuple):
    """What a model inferred or imagined.  Leading axes: samples, then batch.

    Units: the canvas is [−1, 1] × [−1, 1], x to the right and y down; a stroke's own frame is
    the same square before its layout moves it.
    """

    present: Tensor
    """`[..., strokes]`, 1 while strokes are drawn, never again after the first 0: o of Eq. 1."""
    layout: Tensor
    """`[..., strokes, 4]`, scale, shift x, shift y, rotation in radians: l of Eq. 1."""
    strokes: Tensor
    """`[..., strokes, points, 2]`, Bézier control points in the stroke's own frame: s of Eq. 1;
    of a model with appearance codes `[..., strokes, code]`."""
    pen: Tensor
    """`[..., 3]`, ink width (half canvases), slope of a stroke, slope of the canvas; constants
    that nothing reads where the model has no pen."""

    @property
    def stroke_count(self) -> Tensor:
        """Number of strokes, `[...]`."""
        return self.present.sum(-1)

    def first(self, most: int) -> Drawing:
        """The drawings as they were after `most` strokes; the others stay, marked as absent."""
        keep = torch.arange(self.present.shape[-1], device=self.present.device) < most
        return self._replace(present=self.present * keep)

    def map(self, change: object) -> Drawing:
        """The drawing with `change` applied to each of its tensors."""
        return Drawing(*(change(part) for part in self))  # type: ignore[operator]

    def flat(self) -> Drawing:
        """The same drawings on one leading axis."""
        lead = self.present.dim() - 1
        return self.map(lambda part: part.flatten(0, lead - 1) if lead else part[None])

    def shaped(self, shape: torch.Size) -> Drawing:
        """Drawings on one leading axis, spread over `shape`."""
        return self.map(lambda part: part.unflatten(0, shape) if shape else part[0])


class Token(NamedTuple):
    """One exemplar of a drawing: noise on its points, then an affine map of the canvas."""

    points: Tensor
    """As `Drawing.strokes`, and added to them: to control points in the stroke's own frame."""
    affine: Tensor
    """`[..., 2, 3]`, applied to points of the canvas as `A[:, :2] @ p + A[:, 2]`."""
