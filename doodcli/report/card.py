"""The card of an exported model: what it is, what it learned from, what was measured of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from doodcli.data.registry import DATA_SETS

if TYPE_CHECKING:
    from doodcli.experiments.export import Exported


def card(found: Exported) -> str:
    """A page in Markdown; every number in it was measured or recorded."""
    run, table = found.run, found.table
    facts, data = run.provenance(), run.record["data"]
    before, after = table.to_dict("records")
    known = DATA_SETS.get(str(run.settings.data.dataset))
    licence = known.licence if known else "the user's own data"
    remark = f" ({data['remark']})" if data["remark"] else ""
    return f"""# {facts["model"]}, trained on {data["name"]}

A model of images of ink, {run.settings.model.resolution}×{run.settings.model.resolution}, that \
draws them in at most {run.settings.model.strokes} parts. Use it wherever a run is asked for; the \
weights are in half precision, and its training cannot go on.

| | |
|---|---|
| trained on | {data["images"]:,} images of {data["name"]}{remark}; licence {licence} |
| fingerprint of the data | `{data["fingerprint"]}` |
| training | {facts["steps"]:,} steps, {facts["training_images"]:,} images, \
{facts["training_minutes"]:g} minutes on {facts["training_device"]}, seed {facts["seed"]}, \
preset {facts["preset"]} |
| run | {facts["run"]}, weights `{facts["weights"]}`, commit {facts["training_git"]} |
| pen | {facts["pen"]} |
| validation, IWAE-{after["samples"]} | {after["iwae_nats"]:,.1f} ± {after["iwae_se"]:.1f} nats an \
image ({after["images"]} images); before export {before["iwae_nats"]:,.1f} |
| mean absolute error | {after["mean_abs_error"]:.4f} |
| strokes a drawing | {after["mean_strokes"]:.2f} |

All settings are in `run.json`, the course of the training in `log.csv`. It knows ink of the kind \
that it was trained on, white on black in the middle of a square; of photographs it knows nothing.
"""
