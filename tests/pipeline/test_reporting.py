"""The report: what is there, beside the paper's; what is not, by name; and nothing from outside."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from doodcli.errors import InputError
from doodcli.experiments import transfer
from doodcli.learning.train import Plan, train
from doodcli.pipeline import engine, reporting
from doodcli.pipeline.expected import Expected
from doodcli.pipeline.graph import Suite, Training, profile
from doodcli.report import page
from doodcli.report.figures import save_figure
from tests.browser import DARK, STILL, asked, needs_browser
from tests.command import dood, refused

if TYPE_CHECKING:
    from pathlib import Path

FACTS = {
    "seed": 0, "preset": "laptop", "pen": "latent", "training_images": 473600,
    "training_minutes": 31.1, "training_device": "a machine", "version": "0.1.0",
    "training_git": "00012345", "git": "00054321", "evaluation_seed": 0,
}  # fmt: skip
CELLS = {
    ("dood", "mnist"): 6866.18, ("dood", "kmnist"): -3540.08,
    ("air-difference", "mnist"): 6749.81, ("air-difference", "kmnist"): -2185.05,
}  # fmt: skip
TRAININGS = [Training(name, "mnist", 0) for name in ("dood", "air-difference", "dood-eg")]
EXPECTED = Expected(
    "laptop", TRAININGS, ["mnist", "kmnist"],
    {
        **{what.task: "dood train" for what in TRAININGS},
        **{f"cell-{what.name}-{t}": "dood likelihood" for what in TRAININGS
           for t in ("mnist", "kmnist")},
        "reconstruct": "dood reconstruct", "strokes": "dood strokes count",
        "clusters": "dood strokes cluster", "oneshot": "dood oneshot", "probe": "dood probe",
        "transfer": "dood transfer-grid", "animations": "dood report", "fid": "dood fid",
    },
)  # fmt: skip
VOID = {"meta", "link", "img", "br"}


def figure(stem: Path) -> None:
    one = Figure(figsize=(8, 2))
    one.subplots().imshow(np.linspace(0, 1, 12).reshape(3, 4))
    save_figure(one, stem)


def filled(folder: Path) -> Path:
    """Results of two of three runs, as the experiments would write them."""
    folder.mkdir()
    (folder / "cells").mkdir()
    for model in ("dood", "air-difference"):
        facts = {
            **FACTS, "run": f"{model}-mnist-s0-abc", "model": model, "source": "mnist",
            "steps": 3700, "source_fingerprint": "f00d", "settings_hash": "abc",
            "weights": f"w-{model}",
        }  # fmt: skip
        (folder / f"run-{model}-mnist-s0.json").write_text(json.dumps(facts))
    rows = [
        {
            **FACTS, "run": f"{model}-mnist-s0-abc", "model": model, "source": "mnist",
            "target": target, "weights": f"w-{model}", "iwae_nats": nats, "iwae_se": 34.8,
            "mean_abs_error": 0.0238, "mean_strokes": 3.28, "images": 300, "samples": 200,
            "resolution": 50, "likelihood_family": "laplace", "source_transposed": False,
            "remarks": "odd <b>&% file_name" if target == "kmnist" else "",
        }
        for (model, target), nats in CELLS.items()
    ]  # fmt: skip
    blank = [
        {"model": "blank", "source": "mnist", "target": t, "iwae_nats": v, "mean_abs_error": 0.1}
        for t, v in (("mnist", 4449.0), ("kmnist", -7170.0))
    ]
    table = pd.DataFrame([*rows, *blank])
    table.to_csv(folder / "transfer.csv", index=False)
    transfer.against_paper(table).to_csv(folder / "transfer_vs_paper.csv", index=False)
    transfer.claims(table).to_csv(folder / "transfer_claims.csv", index=False)
    better = table[table.model == "dood"].assign(iwae_nats=table.iwae_nats + 700)
    gaps = transfer.amortisation_gap({"amortised": table, "refined": better})
    gaps.to_csv(folder / "amortisation_gap.csv", index=False)
    for model, target in CELLS:
        (folder / "cells" / f"{model}-mnist-s0-{target}.csv").write_text("x\n1\n")
    one_shot = {"da": False, "es": False, "two_way": False, "runs": 20}
    pd.DataFrame([
        {**one_shot, "model": "dood", "accuracy": 0.9375, "se": 0.0135, "source": "measured",
         "trained_on": "omniglot", "reference": None},
        {**one_shot, "model": "DooD", "accuracy": 0.735, "se": None, "source": "reported",
         "trained_on": None, "reference": "Table 1"},
    ]).to_csv(folder / "table1.csv", index=False)  # fmt: skip
    counts = [
        {"run": "r", "model": "dood", "source": "mnist", "dataset": name, "fingerprint": name,
         "images": 100, "strokes": k, "share": share, "remark": ""}
        for name, shares in (("mnist", (0.25, 0.75)), ("kmnist", (0.0, 1.0)))
        for k, share in enumerate(shares)
    ]  # fmt: skip
    pd.DataFrame(counts).to_csv(folder / "stroke_counts.csv", index=False)
    judged = {
        "dataset": "mnist", "kind": "prior", "run": "r", "features": "ink", "feature_size": 10,
        "images": 500, "drawn_by": "dood", "temperature": "1", "tempered": False, "kid": 0.5,
        "precision": 0.25, "recall": 0.125,
        "remark": "", "part": "test", "paper_fid": 0.134, "paper_fid_std": 0.013,
    }  # fmt: skip
    fid = [{**judged, "sample_seed": seed, "fid": value} for seed, value in ((0, 12.0), (1, 14.0))]
    real = {"kind": "floor", "drawn_by": "floor", "run": None, "temperature": None}
    fid.append({**judged, **real, "tempered": None, "sample_seed": 0, "fid": 3.0})
    warm = {"drawn_by": "dood, tempered as in the paper", "temperature": "paper", "tempered": True}
    fid.append({**judged, **warm, "sample_seed": 0, "fid": 20.0})
    pd.DataFrame(fid).to_csv(folder / "fid.csv", index=False)
    for stem in ("samples", "samples-paper"):
        pd.DataFrame([{"run": "r", "model": "dood", "source": "mnist"}]).to_csv(
            folder / f"{stem}.csv", index=False
        )
    for stem in ("reconstruct", "transfer_dood", "stroke_counts", "samples", "samples-paper"):
        figure(folder / stem)
    return folder


class Read(HTMLParser):
    """Tables by the id around them, pictures, links and text of a page that is well formed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.images: list[dict[str, str | None]] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        assert len(found) == len(attrs), (tag, attrs)
        if tag not in VOID:
            self.open.append(tag)
        if found.get("id"):
            self.ids.append(str(found["id"]))
        if tag == "div" and str(found.get("class", "")).startswith("table"):
            self.tables[self.ids[-1]] = []
        if tag == "tr":
            list(self.tables.values())[-1].append([])
        if tag in ("td", "th"):
            list(self.tables.values())[-1][-1].append("")
        if tag == "img":
            self.images.append(found)
        if tag == "a":
            self.links.append(str(found["href"]))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_data(self, data: str) -> None:
        if {"td", "th"} & set(self.open) and "sup" not in self.open:
            list(self.tables.values())[-1][-1][-1] += data.strip()
        if not {"script", "style"} & set(self.open):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def rows(self, table: str, head: str) -> list[list[str]]:
        """The rows of a table that begin so."""
        return [row for row in self.tables[table] if row[0] == head]


class Made(NamedTuple):
    folder: Path
    html: str
    page: Read
    tex: str


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Made:
    folder = filled(tmp_path_factory.mktemp("report") / "laptop")
    paths = reporting.write_report(folder, EXPECTED, folder)
    assert [path.name for path in paths] == ["index.html", "report.tex"]
    text = paths[0].read_text(encoding="utf-8")
    return Made(folder, text, Read(text), paths[1].read_text(encoding="utf-8"))


def test_every_section_is_there_in_the_papers_order(made):
    wanted = ["summary", "drawings", "transfer", "clusters", "oneshot", "generation", "probes",
              "traces", "training", "missing"]  # fmt: skip
    assert [name for name in made.page.ids if name in wanted] == wanted
    assert [link for link in made.page.links if link[1:] in wanted] == [f"#{n}" for n in wanted]
    assert len(set(made.page.ids)) == len(made.page.ids)


def test_nothing_comes_from_outside_and_every_picture_says_what_it_is(made):
    assert not re.search(r"https?:|url\(|@import", made.html)
    assert len(made.page.images) == 5
    for image in made.page.images:
        assert image["src"].startswith("data:image/png;base64,")
        assert len(image["alt"]) > 20
    inside = [link for link in made.page.links if not link.startswith("#")]
    assert "reconstruct.pdf" in inside
    assert all((made.folder / link).is_file() for link in inside)
    assert "default-src 'none'" in made.html


def test_numbers_are_those_of_the_tables_beside_the_papers(made):
    square = "transfer-dood"
    assert made.page.rows(square, "nats an image") == [["nats an image", "mnist", "kmnist"]]
    assert made.page.rows(square, "ours") == [["ours", "6,866 ± 35", "−3,540 ± 35"]]
    assert made.page.rows(square, "the paper's") == [["the paper's", "7,094 ± 58", "−2,859 ± 492"]]
    assert made.page.rows(square, "difference") == [["difference", "−228", "−681"]]
    assert made.page.rows(square, "error of a pixel") == [["error of a pixel", "0.024", "0.024"]]
    assert made.page.rows(square, "blank page") == [["blank page", "4,449", "−7,170"]]
    ablations = [row for row in made.page.tables["ablations-mnist"] if row[0] == "the paper's"]
    # dood's own row is of the points' variant, Difference-AIR's of Fig. 4, −EG's of its own.
    assert ["the paper's", "7,056 ± 44", "−4,206 ± 1,106"] in ablations
    assert ["the paper's", "7,021 ± 17", "−6,602 ± 166"] in ablations
    assert ["the paper's", "7,054 ± 196", "−6,344 ± 1,835"] in ablations
    (mine,) = made.page.rows("table1", "dood")
    assert mine[5:7] == ["93.8 ± 1.4 %", "+20.2 points"]
    assert made.page.rows("stroke-means", "dood, trained on mnist")[0][1:] == [
        "0.75 ± 0.04", "1.00 ± 0.00",
    ]  # fmt: skip
    # Mean and deviation of two seeds.
    assert made.page.rows("fid", "dood") == [
        ["dood", "13.000 ± 1.414", "0.5000 ± 0.0000", "0.250 ± 0.000", "0.125 ± 0.000",
         "0.134 ± 0.013"],
    ]  # fmt: skip


def test_refined_posteriors_stand_beside_the_amortised_one(made):
    table = "amortisation-gap-dood"
    assert made.page.rows(table, "amortised") == [["amortised", "6,866 ± 35", "−3,540 ± 35"]]
    assert made.page.rows(table, "refined") == [["refined", "7,566 ± 35", "−2,840 ± 35"]]
    assert made.page.rows(table, "less the paper's") == [
        ["less the paper's", "−228", "−681"], ["less the paper's", "+472", "+19"],
    ]  # fmt: skip
    assert "Past the paper's: 0 of 1 amortised, 1 of 1 refined" in made.page.text


def test_under_samples_stands_how_like_the_data_they_are(made):
    about = "FID against test images, in brackets that of as many training images: "
    assert f"{about}dood on mnist 13.0 (3.0)." in made.page.text
    assert f"{about}dood on mnist 20.0 (3.0)." in made.page.text


def test_under_samples_stands_which_images_they_are_compared_with(tmp_path):
    folder = filled(tmp_path / "laptop")
    table = pd.read_csv(folder / "fid.csv").assign(part="validation")
    table.to_csv(folder / "fid.csv", index=False)
    page, _ = reporting.write_report(folder, EXPECTED, folder)
    text = Read(page.read_text(encoding="utf-8")).text
    assert "FID against validation images, in brackets" in text
    assert "FID against test images" not in text


def test_claims_hold_or_do_not_as_their_table_says(made):
    rows = made.page.tables["transfer-claims"][1:]
    within, across = rows
    assert within[-4:] == ["6,866", "6,750", "116 ± 49", "holds"]
    assert across[-4:] == ["−3,540", "−2,185", "−1,355 ± 49", "does not hold"]
    summary = made.page.tables["claims"][1:]
    assert [row[2:] for row in summary] == [["1 of 1", "holds"], ["0 of 1", "does not hold"]]


def test_what_is_not_alike_is_marked_and_why_is_escaped(made):
    assert "odd <b>&% file_name" in made.page.text
    assert "odd <b>" not in made.html
    assert r"odd \(<\)b\(>\)\&\% file\_name" in made.tex
    assert re.search(r'−681</span><sup class="note" title="odd &lt;b&gt;', made.html)
    assert "−228</span><sup" not in made.html


def test_what_is_missing_is_named_with_its_command(made):
    assert made.page.rows("ablations-mnist", "ours")[-1] == ["ours", "missing", "missing"]
    assert made.page.rows("runs", "dood-eg-mnist-s0")[0][1] == "missing"
    assert made.page.rows("runs", "dood-mnist-s0")[0][1:4] == ["31.1", "473,600", "3,700"]
    command = "dood reproduce --profile laptop --only"
    text = made.page.text
    assert f"{command} 'train-dood-eg-mnist-s0,cell-dood-eg-mnist-s0-*'" in text
    for name in ("clusters", "probe", "animations"):
        assert f"Task {name} was not run or failed; {command} {name} makes it." in text
    # The rows of a table whose picture is not there are no excuse.
    assert f"{command} oneshot" in text
    assert f"{command} fid" not in text
    assert "6 items missing" in text


def test_a_run_is_described_wherever_its_numbers_are(made):
    for word in ("31.1", "473,600", "a machine", "00012345", "0.1.0", "laptop", "latent", "f00d"):
        assert word in made.page.text
        assert word in made.tex
    assert "What was measured above was measured with these runs." in made.page.text


def test_a_table_of_other_weights_is_named(tmp_path):
    folder = filled(tmp_path / "laptop")
    table = pd.read_csv(folder / "transfer.csv")
    table.assign(weights="123").to_csv(folder / "transfer.csv", index=False)
    reporting.write_report(folder, EXPECTED, folder)
    assert "but for transfer.csv: of other weights" in (folder / "index.html").read_text()


@pytest.mark.parametrize(
    ("text", "why"), [("", "cannot be read"), ("model\n", "holds no row"), ("a,b\n1,2\n", "lacks")]
)
def test_a_broken_table_is_named_and_breaks_nothing_else(tmp_path, text, why):
    folder = filled(tmp_path / "laptop")
    (folder / "table1.csv").write_text(text)
    reporting.write_report(folder, EXPECTED, folder)
    read = Read((folder / "index.html").read_text(encoding="utf-8"))
    assert f"table1.csv {why}" in read.text
    assert "table1" not in read.tables
    assert "transfer-dood" in read.tables


def test_a_folder_that_is_no_profiles_is_shown_as_it_is(tmp_path):
    folder = filled(tmp_path / "mine")
    reporting.write_report(folder, Expected.nothing(), tmp_path / "elsewhere")
    read = Read((tmp_path / "elsewhere" / "index.html").read_text(encoding="utf-8"))
    assert "results of mine" in read.text
    assert "dood reproduce" not in read.text
    assert "missing" not in [cell for row in read.tables["transfer-dood"] for cell in row]
    assert "../mine/reconstruct.pdf" in read.links
    assert "{../mine/reconstruct.pdf}" in (tmp_path / "elsewhere" / "report.tex").read_text()


def test_pictures_shrink_until_all_fit(tmp_path, monkeypatch):
    folder = filled(tmp_path / "laptop")
    noise = np.random.default_rng(0).integers(0, 255, (300, 1200), np.uint8)
    Image.fromarray(noise).save(folder / "reconstruct.png")
    monkeypatch.setattr(page, "BUDGET", 60_000)
    reporting.write_report(folder, EXPECTED, folder)
    images = Read((folder / "index.html").read_text(encoding="utf-8")).images
    width, height = (int(images[0][side]) for side in ("width", "height"))
    assert page.NARROWEST < width < 1000  # noise has up to a byte a pixel
    assert height == round(width / 4)
    assert sum(len(str(image["src"])) for image in images) < 60_000 * 4 / 3 + 200


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_the_document_compiles(made, tmp_path):
    folder = tmp_path / "laptop"
    shutil.copytree(made.folder, folder)
    for _ in range(2):
        done = subprocess.run(
            ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "report.tex"],
            cwd=folder, capture_output=True, check=False, timeout=200,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-800:]
    assert (folder / "report.pdf").stat().st_size > 20_000
    log = (folder / "report.log").read_text(errors="replace")
    assert "undefined" not in log
    for name in ("reconstruct", "transfer_dood", "stroke_counts"):
        assert f"<{name}.pdf" in log


# --------------------------------------------------------------------------------- the tasks


def suite(folder: Path, *models: str) -> Suite:
    tiny = dataclasses.replace(
        profile("tiny"), trainings=tuple((name, "digits") for name in models), targets=("digits",)
    )
    return Suite("tiny", tiny, folder / "tiny", Plan(folder / "runs"), may_train=False)


def states(of: Suite, name: str) -> tuple[str, list[str]]:
    """What became of a task alone, and what was told."""
    told: list[str] = []
    (task,) = [task for task in of.tasks() if task.name == name]
    outcome = engine.run([task], engine.Ledger(of.out / engine.LEDGER), told.append)
    return outcome.reasons.get(name, outcome.states[name]), told


def test_the_page_is_made_again_exactly_when_what_it_reads_changed(tmp_path):
    of = suite(tmp_path, "dood")
    folder = filled(of.out)

    def done() -> bool:
        state, told = states(of, "report")
        assert state == engine.DONE
        return told == ["report: done before"]

    assert not done()
    assert done()
    (folder / "notes.txt").write_text("nothing that it reads")
    (folder / "ledger.json").touch()
    assert done()
    table = pd.read_csv(folder / "fid.csv")
    table.assign(recall=0.75).to_csv(folder / "fid.csv", index=False)
    assert not done()
    read = Read((folder / "index.html").read_text(encoding="utf-8"))
    assert read.rows("fid", "dood")[0][4] == "0.750 ± 0.000"
    figure(folder / "strokes_dood")  # nobody had it when the page was made
    assert not done()
    (folder / "reconstruct.pdf").unlink()
    assert not done()
    (folder / "run-dood-mnist-s0.json").write_text("{}")
    assert not done()
    assert done()
    (folder / "index.html").unlink()
    assert not done()


def test_every_profile_ends_with_its_report(tmp_path):
    for name in ("tiny", "smoke", "laptop", "paper"):
        of = Suite(name, profile(name), tmp_path / name, Plan(tmp_path, data_root=tmp_path))
        *others, last = of.tasks()
        assert last.name == "report"
        assert last.needs == ()
        assert set(last.soft) == {task.name for task in others}
        expected = Expected.of(of)
        assert set(expected.commands) == set(last.soft)
        # A page that travels says nothing of this machine.
        assert not any(str(tmp_path) in text for text in expected.commands.values())


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> Suite:
    """A folder with a report of one trained run, one without curves, and one that is missing."""
    of = suite(tmp_path_factory.mktemp("drawn"), "dood", "air", "dood-sp")
    for name in ("dood", "air"):
        train(of.settings(name, "digits", 0), of.plan)
    filled(of.out)
    assert states(of, "animations")[0] == engine.DONE
    assert states(of, "report")[0] == engine.DONE
    return of


def test_drawings_of_runs_with_curves_are_kept_and_the_others_named(drawn):
    value = json.loads((drawn.out / "animations.json").read_text())
    (run,) = value["runs"]
    assert run["run"].startswith("dood-digits-s0")
    assert [one["run"] for one in value["skipped"]] == ["air-digits-s0", "dood-sp-digits-s0"]
    assert "no curves" in value["skipped"][0]["reason"]
    assert "not trained" in value["skipped"][1]["reason"]
    (part,) = run["sets"]
    assert len(part["images"]) == reporting.DRAWN
    html = (drawn.out / "index.html").read_text(encoding="utf-8")
    drawings = re.findall(r"<svg .*?</svg>", html, re.S)
    counts = [len(image["strokes"]) for image in part["images"]]
    assert [one.count("<path") for one in drawings] == counts
    assert "xmlns" not in html
    assert states(drawn, "animations")[1] == ["animations: done before"]


def test_drawings_are_those_of_the_model(drawn):
    from doodcli.data.load import load_images
    from doodcli.experiments.reconstruct import reconstruct
    from doodcli.model.layout import place_points

    images = load_images("digits", "test", limit=reporting.DRAWN, seed=0)
    item = reconstruct(drawn.run(drawn.trainings[0]), images, 0, "cpu")
    places = place_points(item.drawing.layout, item.drawing.strokes).numpy()
    value = json.loads((drawn.out / "animations.json").read_text())
    for k, image in enumerate(value["runs"][0]["sets"][0]["images"]):
        assert image["index"] == images.index[k].item()
        assert len(image["strokes"]) == item.drawing.present[k].sum()
        for step, stroke in enumerate(image["strokes"]):
            assert np.allclose(stroke["points"], places[k, step], atol=1e-4)


# ------------------------------------------------------------------------------- the command


def test_the_command_prints_its_pages(capsys, tmp_path):
    folder = filled(tmp_path / "mine")
    result = dood(capsys, "report", "--results", folder)
    assert result.code == 0, result
    assert result.out.split() == [str(folder / "index.html"), str(folder / "report.tex")]


def test_the_command_of_a_profile_says_what_is_missing(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").mkdir()
    filled(tmp_path / "results" / "tiny")
    result = dood(capsys, "report", "--profile", "tiny", "--out", "page", "--json")
    assert result.code == 0, result
    assert json.loads(result.out)["files"] == ["page/index.html", "page/report.tex"]
    text = Read((tmp_path / "page" / "index.html").read_text(encoding="utf-8")).text
    assert "dood reproduce --profile tiny --only trace" in text
    assert "air-digits-s0" in text


def test_drawings_outlive_their_runs(capsys, drawn, tmp_path):
    folder = tmp_path / "tiny"
    shutil.copytree(drawn.out, folder)
    result = dood(capsys, "report", "--results", folder, "--runs", tmp_path / "none")
    assert result.code == 0, result
    assert "no new animations" in result.err
    name = "animations.json"
    assert (folder / name).read_bytes() == (drawn.out / name).read_bytes()
    assert "<svg " in (folder / "index.html").read_text(encoding="utf-8")


def test_a_folder_without_results_is_refused(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused(dood(capsys, "report"), "results/smoke", "no such folder", "dood reproduce")
    (tmp_path / "empty").mkdir()
    refused(dood(capsys, "report", "--results", "empty"), "empty: holds no results")
    (tmp_path / "results" / "tiny").mkdir(parents=True)
    refused(dood(capsys, "report", "--profile", "tiny"), "results/tiny: holds no results")
    refused(dood(capsys, "report", "--profile", "poster", "--results", "empty"), "--profile poster")
    with pytest.raises(InputError, match="no such folder"):
        reporting.write_report(tmp_path / "gone", Expected.nothing(), tmp_path)


# ------------------------------------------------------------------------------- the browser

MEASURED = """{
  width: innerWidth,
  wide: document.documentElement.scrollWidth,
  images: [...document.images].map((one) => one.naturalWidth),
  shown: [...document.images].every((one) => one.complete && one.clientWidth > 0),
  paper: getComputedStyle(document.body).backgroundColor,
  cards: [...document.querySelectorAll(".card")].map((c) => getComputedStyle(c).backgroundColor),
  moving: document.getAnimations().length,
  paths: document.querySelectorAll("svg path").length,
  buttons: [...document.querySelectorAll(".again")].map((one) => one.hidden),
}"""


def lightness(colour: str) -> float:
    return sum(map(int, re.findall(r"\d+", colour)[:3])) / 3 / 255


@needs_browser
@pytest.mark.parametrize("width", [380, 1280])
def test_a_browser_shows_the_page_in_whole_in_light_and_dark(drawn, tmp_path, width):
    for name in ("index.html", "animations.json"):
        shutil.copy(drawn.out / name, tmp_path)
    strokes = (drawn.out / "index.html").read_text(encoding="utf-8").count("<path")
    for options, dark in (((), False), ((DARK, STILL), True)):
        found, said = asked(tmp_path / "index.html", width, MEASURED, *options)
        assert said == []
        assert found["width"] == width
        assert found["wide"] <= width
        assert len(found["images"]) == 5 + reporting.DRAWN
        assert min(found["images"]) >= 50
        assert found["shown"]
        assert (lightness(found["paper"]) < 0.2) == dark
        assert {lightness(colour) for colour in found["cards"]} == {1.0}
        assert found["paths"] == strokes
        # Who prefers less motion sees the drawings as they are.
        assert found["buttons"] == [dark]
        if dark:
            assert found["moving"] == 0
