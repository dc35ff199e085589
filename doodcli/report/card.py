"""The cards of what ships: what it is, what it learned from, what was measured of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from doodcli.data.registry import DATA_SETS

if TYPE_CHECKING:
    from doodcli.experiments.export import Exported
    from doodcli.learning.features import Features


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
weights are in half precision, without the state of their training.

| | |
|---|---|
| trained on | {data["images"]:,} images of {data["name"]}{remark}; licence {licence} |
| fingerprint of the data | `{data["fingerprint"]}` |
| training | {facts["steps"]:,} steps, {facts["training_images"]:,} images, \
{facts["training_minutes"]:g} minutes on {facts["training_device"]}, seed {facts["seed"]}, \
preset {facts["preset"]} |
| run | {before["run"]}, weights `{facts["weights"]}`, commit {facts["training_git"]} |
| pen | {facts["pen"]} |
| validation, IWAE-{after["samples"]} | {after["iwae_nats"]:,.1f} ± {after["iwae_se"]:.1f} nats an \
image ({after["images"]} images); before export {before["iwae_nats"]:,.1f} |
| mean absolute error | {after["mean_abs_error"]:.4f} |
| strokes a drawing | {after["mean_strokes"]:.2f} |

All settings are in `run.json`, the course of the training in `log.csv`. It knows ink of the kind \
that it was trained on, white on black in the middle of a square; of photographs it knows nothing.
"""


def features_card(found: Features) -> str:
    """A page in Markdown about an extractor of features."""
    facts, settings = found.record, found.settings
    rows = "\n".join(_of_set(item) for item in facts["data"])
    changes = ", ".join(map(str, settings.channels))
    return f"""# Features of ink

What `dood fid` compares pictures by, unless told otherwise: a classifier of {len(facts["data"])} \
data sets at once, with a linear head for each. {len(settings.channels)} strided 3×3 convolutions \
({changes} channels, batch normalisation, ReLU), then {settings.size} features, normalised, that \
the heads read. It reads 50×50 pixels, white ink on black; of photographs it knows nothing.

| data set | classes | training images | accuracy | of | fingerprint | licence |
|---|---|---|---|---|---|---|
{rows}

| | |
|---|---|
| parameters | {facts["parameters"]:,}, in half precision |
| weights | sha256 `{facts["sha256"]}` |
| training | {settings.steps:,} steps of {settings.share} images of each set, AdamW, rate \
{settings.lr:g} after {settings.warmup} steps of warm-up and then linear to 0, decay \
{settings.decay:g}, seed {settings.seed}, no augmentation |
| took | {facts["seconds"] / 60:.0f} minutes on {facts["device"]}, {facts["threads"]} thread(s) |
| made by | dood {facts["version"]}, commit {facts["git"] or "unknown"} |

The accuracies are those of these weights. No test image was trained on; of Omniglot only the \
background alphabets were seen, less those held out for validation. `features.json` has all \
settings; the same command, data and thread count give the same weights.
"""


def _of_set(item: dict[str, Any]) -> str:
    """Its row in the card of the features."""
    known = DATA_SETS.get(item["name"])
    name = item["name"] + (f" ({item['remark']})" if item["remark"] else "")
    licence = known.licence if known else "the user's own data"
    return (
        f"| {name} | {item['classes']:,} | {item['train_images']:,} | {item['test_accuracy']:.3f} "
        f"| {item['test_images']:,} {item['tested_on']} | `{item['fingerprint']}` | {licence} |"
    )
