"""The transfer table: its means, the paper's numbers beside it, and claims on tables by hand."""

from __future__ import annotations

import itertools
import math

import pandas as pd
import pytest

from doodcli.experiments import transfer
from doodcli.report import paper

OVER_AIR = "dood: better than air-difference"


def cell(
    model: str, source: str, target: str, nats: float, seed: int = 0, remarks: str | None = None
) -> dict[str, object]:
    """A row of `transfer.csv`."""
    return {
        "model": model, "source": source, "target": target, "seed": seed, "iwae_nats": nats,
        "iwae_se": 2.0 + seed, "mean_abs_error": 0.1 * (1 + seed), "mean_strokes": 3.0 + seed,
        "images": 300, "samples": 200, "remarks": remarks, "resolution": 50,
        "likelihood_family": "laplace", "source_transposed": False,
    }  # fmt: skip


def table(*cells: dict[str, object]) -> pd.DataFrame:
    return pd.DataFrame(list(cells))


def blank(source: str, target: str) -> dict[str, object]:
    return {"model": "blank", "source": source, "target": target, "iwae_nats": 9000.0}


def papers(*models: str) -> list[dict[str, object]]:
    """The paper's Fig. 4 as if it were ours."""
    return [
        cell(model, source, target, paper.TRANSFER[model][source][target][0])
        for model, source, target in itertools.product(models, paper.SETS, paper.SETS)
    ]


# ------------------------------------------------------------------------------ means


def test_a_cell_is_the_mean_of_its_seeds_with_their_deviation():
    rows = [
        cell("dood", "mnist", "kmnist", nats, seed) for seed, nats in enumerate((1.0, 2.0, 6.0))
    ]
    rows.append(cell("dood", "kmnist", "mnist", 50.0))
    found = transfer.summary(table(*rows, blank("mnist", "kmnist")))
    assert found[["model", "source", "target"]].to_numpy().tolist() == [
        ["dood", "mnist", "kmnist"], ["dood", "kmnist", "mnist"],
    ]  # fmt: skip
    one = found.iloc[0]
    assert one.iwae_nats == 3
    assert one["std"] == pytest.approx(math.sqrt((4 + 1 + 9) / 2))
    assert one.se == 3
    assert one.mean_abs_error == pytest.approx(0.2)
    assert one.mean_strokes == 4
    assert (one.seeds, one.images, one.samples) == (3, 300, 200)


def test_one_seed_has_no_deviation_but_an_error_over_images():
    (one,) = transfer.summary(table(cell("dood", "mnist", "mnist", 7.0))).to_dict("records")
    assert (one["iwae_nats"], one["se"], one["seeds"]) == (7, 2, 1)
    assert math.isnan(one["std"])


def test_models_sources_and_targets_are_kept_apart():
    rows = [
        cell(*names, nats)
        for nats, names in enumerate(itertools.product(("dood", "air"), "ab", "abc"))
    ]
    assert transfer.summary(table(*rows)).iwae_nats.tolist() == list(range(12))


def test_refined_cells_stand_below_their_amortised_ones():
    amortised = table(
        cell("dood", "kmnist", "mnist", 5800.0), cell("dood", "kmnist", "emnist", 5400.0),
        cell("dood", "mnist", "mnist", 7100.0), cell("dood", "digits", "digits", 1.0),
        blank("mnist", "mnist"),
    )  # fmt: skip
    refined = table(
        cell("dood", "digits", "digits", 3.0), cell("dood", "kmnist", "emnist", 5500.0),
        cell("dood", "kmnist", "mnist", 6300.0),
    )  # fmt: skip
    scaled = table(cell("dood", "kmnist", "mnist", 6400.0))
    gaps = transfer.amortisation_gap({"amortised": amortised, "refined": refined, "best": scaled})
    shown = [*gaps[["source", "target", "posterior"]].itertuples(index=False, name=None)]
    assert shown == [
        ("digits", "digits", "amortised"), ("digits", "digits", "refined"),
        ("kmnist", "emnist", "amortised"), ("kmnist", "emnist", "refined"),
        ("kmnist", "mnist", "amortised"), ("kmnist", "mnist", "refined"),
        ("kmnist", "mnist", "best"),
    ]  # fmt: skip
    assert gaps.gained.tolist() == [0, 2, 0, 100, 0, 500, 600]
    theirs = paper.TRANSFER["dood"]["kmnist"]["mnist"][0]
    assert gaps.difference.tolist()[4:] == pytest.approx([n - theirs for n in (5800, 6300, 6400)])
    assert gaps.above_paper.tolist()[4:] == [False, True, True]
    assert gaps.otherwise_alike.tolist()[2:] == [False, False, True, True, True]
    assert "EMNIST upright" in gaps.why_not[2]
    assert gaps.paper_nats.isna().tolist()[:2] == [True, True]


# -------------------------------------------------------------------- the paper's numbers


def test_the_papers_tables_are_whole_and_below_the_ceiling():
    for square in paper.TRANSFER.values():
        assert tuple(square) == paper.SETS
        assert all(tuple(row) == paper.SETS for row in square.values())
    assert tuple(paper.ABLATIONS) == ("dood", "dood-eg", "dood-sp", "dood-dr")
    rows = [row for square in paper.TRANSFER.values() for row in square.values()]
    for row in (*rows, *paper.ABLATIONS.values()):
        assert all(mean < 2500 * math.log(50) for mean, _ in row.values())
        assert all(std is None or std > 0 for _, std in row.values())


def test_dood_wins_all_cells_of_the_paper_but_one():
    ours, rival = (paper.TRANSFER[name] for name in ("dood", "air-difference"))
    cells = itertools.product(paper.SETS, paper.SETS)
    assert [(s, t) for s, t in cells if ours[s][t] <= rival[s][t]] == [("emnist", "emnist")]


def beside(*cells: dict[str, object]) -> dict[tuple[str, ...], dict[str, object]]:
    """Rows of the comparison, by figure, model, source and target."""
    found = transfer.against_paper(table(*cells)).to_dict("records")
    rows = {(r["figure"], r["model"], r["source"], r["target"]): r for r in found}
    assert len(rows) == len(found)
    return rows


def test_a_difference_is_ours_less_the_papers():
    rows = beside(
        cell("dood", "kmnist", "quickdraw", 4172.2), cell("dood", "kmnist", "omniglot", 5654.4),
        cell("air-difference", "kmnist", "quickdraw", 3604.3),
    )  # fmt: skip
    above = rows["Fig. 4", "dood", "kmnist", "quickdraw"]
    assert (above["paper_nats"], above["paper_std"]) == (4072.2, 22.0)
    assert above["difference"] == pytest.approx(100)
    assert above["above_paper"]
    assert (above["se"], above["seeds"], above["images"], above["samples"]) == (2, 1, 300, 200)
    equal = rows["Fig. 4", "dood", "kmnist", "omniglot"]
    assert equal["difference"] == 0
    assert not equal["above_paper"]
    below = rows["Fig. 4", "air-difference", "kmnist", "quickdraw"]
    assert below["difference"] == pytest.approx(-100)
    assert not below["above_paper"]


def test_ablations_stand_beside_trainings_on_mnist_only():
    names = ("dood", "dood-eg", "dood-sp", "dood-dr", "air", "air-difference")
    cells = [cell(m, s, "omniglot", 1.0) for m in names for s in ("mnist", "kmnist", "digits")]
    rows = beside(*cells)
    assert {key[:3]: row["paper_nats"] for key, row in rows.items()} == {
        ("Fig. 4", "dood", "mnist"): 4808.4,
        ("ablations", "dood", "mnist"): 4096.5,
        ("Fig. 4", "dood", "kmnist"): 5654.4,
        ("ablations", "dood-eg", "mnist"): 3878.8,
        ("ablations", "dood-sp", "mnist"): 4715.2,
        ("ablations", "dood-dr", "mnist"): 4002.0,
        ("Fig. 4", "air-difference", "mnist"): 3648.9,
        ("Fig. 4", "air-difference", "kmnist"): 5249.7,
    }


def test_a_deviation_that_the_paper_does_not_give_is_missing():
    row = beside(cell("dood-dr", "mnist", "emnist", 1.0))["ablations", "dood-dr", "mnist", "emnist"]
    assert row["paper_nats"] == 1650
    assert math.isnan(row["paper_std"])


def test_nothing_of_the_papers_gives_no_rows():
    cells = [cell("dood", "digits", "scribbles", 1.0), cell("air", "mnist", "mnist", 1.0)]
    assert transfer.against_paper(table(*cells, blank("mnist", "mnist"))).empty


def test_only_the_transposed_emnist_is_like_for_like():
    rows = beside(*(cell("dood", "mnist", name, 1.0) for name in ("emnist", "emnist-transposed")))
    for figure, number in (("Fig. 4", 4413.9), ("ablations", 3748.5)):
        upright = rows[figure, "dood", "mnist", "emnist"]
        swapped = rows[figure, "dood", "mnist", "emnist-transposed"]
        assert upright["paper_nats"] == swapped["paper_nats"] == number
        assert not upright["like_for_like"]
        assert "upright" in upright["why_not"]
        assert swapped["like_for_like"]
        assert swapped["why_not"] == ""


def test_a_training_on_emnist_is_not_like_for_like():
    for target in ("mnist", "emnist", "emnist-transposed"):
        row = beside(cell("dood", "emnist", target, 1.0))["Fig. 4", "dood", "emnist", target]
        assert not row["like_for_like"]
        assert "trained on EMNIST upright" in row["why_not"]


def test_a_training_on_transposed_emnist_is_like_for_like():
    row = cell("dood", "emnist", "mnist", 1.0) | {"source_transposed": True}
    assert beside(row)["Fig. 4", "dood", "emnist", "mnist"]["like_for_like"]


@pytest.mark.parametrize(
    ("other", "why"),
    [
        ({"samples": 50}, "samples 50, the paper has 200"),
        ({"resolution": 28}, "resolution 28, the paper has 50"),
        ({"likelihood_family": "normal"}, "a normal likelihood, the paper's is Laplace"),
    ],
)
def test_another_protocol_is_not_like_for_like(other, why):
    rows = beside(cell("dood", "mnist", "kmnist", 1.0) | other)
    row = rows["Fig. 4", "dood", "mnist", "kmnist"]
    assert not row["like_for_like"]
    assert row["why_not"] == why


def test_a_file_that_is_not_canonical_is_not_like_for_like_and_says_why():
    remark = "target: balanced-like: 30/30 images instead of 112,800/18,800"
    cells = [
        cell("dood", "mnist", name, 1.0, seed, remark)
        for name in ("emnist", "emnist-transposed") for seed in (0, 1)
    ]  # fmt: skip
    rows = beside(*cells, cell("dood", "mnist", "kmnist", 1.0))
    assert rows["Fig. 4", "dood", "mnist", "emnist-transposed"]["why_not"] == remark
    why = str(rows["Fig. 4", "dood", "mnist", "emnist"]["why_not"])
    assert why.startswith(f"{remark}; EMNIST upright")
    like = {target: row["like_for_like"] for (_, _, _, target), row in rows.items()}
    assert like == {"emnist": False, "emnist-transposed": False, "kmnist": True}


def test_the_papers_air_on_omniglot_is_another_quantity():
    cells = [
        cell(model, source, "omniglot", 1.0)
        for model in ("dood", "air-difference") for source in ("mnist", "omniglot")
    ]  # fmt: skip
    rows = beside(*cells)
    odd = rows["Fig. 4", "air-difference", "omniglot", "omniglot"]
    assert "one sample" in str(odd["why_not"])
    assert [key for key, row in rows.items() if not row["like_for_like"]] == [
        ("Fig. 4", "air-difference", "omniglot", "omniglot")
    ]


# ------------------------------------------------------------------------------ claims


def said(*cells: dict[str, object]) -> dict[tuple[str, str], tuple[float, float, bool]]:
    """Value, rival and verdict of each claim."""
    found = transfer.claims(table(*cells))
    rows = {
        (f"{r.model}: {r.claim}", r.where): (r.value, r.against, bool(r.holds))
        for r in found.itertuples()
    }
    assert len(rows) == len(found)
    return rows


def test_the_diagonal_is_compared_with_the_next_best_source():
    claim = "dood: the diagonal is the best of its column"
    columns = {"a": (5.0, 4.0, 3.0), "b": (1.0, 2.0, 3.0)}
    cells = [
        cell("dood", source, target, nats)
        for target, column in columns.items() for source, nats in zip("abc", column, strict=True)
    ]  # fmt: skip
    assert said(*cells, blank("b", "a")) == {
        (claim, "a; next best b"): (5, 4, True),
        (claim, "b; next best c"): (2, 3, False),
    }


def test_a_diagonal_without_its_own_cell_or_a_rival_claims_nothing():
    alone, foreign = cell("dood", "a", "a", 1.0), cell("dood", "a", "b", 1.0)
    assert said(alone, foreign, cell("dood", "c", "b", 2.0)) == {}
    # Another model's cell is no rival.
    assert said(alone, cell("air", "b", "a", 2.0)) == {}


def test_dood_is_compared_with_difference_air_cell_by_cell():
    ours = {("a", "a"): 5.0, ("a", "b"): 1.0, ("b", "b"): 2.0, ("b", "a"): 9.0}
    rival = {("a", "a"): 4.0, ("a", "b"): 2.0, ("b", "b"): 2.0}
    cells = [cell("dood", *where, nats) for where, nats in ours.items()]
    cells += [cell("air-difference", *where, nats) for where, nats in rival.items()]
    # Plain AIR is not the one of Fig. 4; it also has what Difference-AIR lacks.
    cells += [cell("air", *where, 8.0) for where in ours]
    found = {key: row for key, row in said(*cells).items() if key[0].startswith(OVER_AIR)}
    assert found == {
        (f"{OVER_AIR}, within a data set", "a to a"): (5, 4, True),
        (f"{OVER_AIR}, across data sets", "a to b"): (1, 2, False),
        (f"{OVER_AIR}, within a data set", "b to b"): (2, 2, False),
    }


def test_claims_are_of_the_means_over_seeds():
    cells = [cell("dood", "a", "a", nats, seed) for seed, nats in enumerate((1.0, 5.0))]
    cells.append(cell("air-difference", "a", "a", 2.0))
    assert said(*cells) == {(f"{OVER_AIR}, within a data set", "a to a"): (3, 2, True)}


def worst(*cells: dict[str, object]) -> list[tuple[float, float, bool]]:
    """What is said about the worst sources of `dood`."""
    claim = "dood: MNIST and Omniglot are the worst sources"
    return [row for (text, _), row in said(*cells).items() if text == claim]


def test_the_worst_sources_are_those_with_the_lowest_means_off_the_diagonal():
    sets = ("mnist", "omniglot", "kmnist")
    away = {"mnist": 1.0, "omniglot": 2.0, "kmnist": 3.0}
    cells = [
        cell("dood", s, t, 100.0 if s == t else away[s] + (0.5 if t == sets[0] else 0.0))
        for s, t in itertools.product(sets, sets)
    ]  # fmt: skip
    # KMNIST and Omniglot, the closest pair, share the target MNIST.
    assert worst(*cells) == [(3.5, 2.5, True)]
    # The transposed EMNIST is no column of the paper's square.
    assert worst(*cells, cell("dood", "mnist", "emnist-transposed", 900.0)) == [(3.5, 2.5, True)]
    cells = [c | {"iwae_nats": 2.0} if c["source"] == "kmnist" else c for c in cells]
    assert worst(*cells) == [(2.0, 2.5, False)]


def test_a_column_that_is_easy_for_all_makes_no_source_better():
    sets = ("mnist", "omniglot", "kmnist")
    cells = [
        cell("dood", s, t, (1.0 if s == "kmnist" else 0.0) + (1000.0 if t == "mnist" else 0.0))
        for s, t in itertools.product(sets, sets)
    ]  # fmt: skip
    # By plain means Omniglot and KMNIST, which are tried on MNIST, would pass MNIST by hundreds.
    ((high, low, holds),) = worst(*cells)
    assert holds
    assert high - low == 1


def test_a_claims_error_is_that_of_a_difference():
    cells = [cell("dood", "a", "a", 5.0), cell("air-difference", "a", "a", 4.0, seed=1)]
    (row,) = transfer.claims(table(*cells)).to_dict("records")
    assert row["se"] == pytest.approx(math.hypot(2.0, 3.0))
    assert row["paper"] is True


def test_without_both_or_a_third_there_are_no_worst_sources():
    rows = papers("dood")
    assert len(worst(*rows)) == 1
    for gone in ({"mnist"}, {"omniglot"}, {"emnist", "kmnist", "quickdraw"}):
        assert worst(*(row for row in rows if row["source"] not in gone)) == []


def test_a_row_that_lacks_cells_is_not_among_the_worst_or_the_best():
    # Without its two negative cells MNIST's row would have a mean above EMNIST's.
    gone = {("mnist", "kmnist"), ("mnist", "quickdraw")}
    rows = [row for row in papers("dood") if (row["source"], row["target"]) not in gone]
    assert worst(*rows) == []


def test_a_cell_without_a_bound_claims_nothing():
    cells = [cell("dood", "a", "a", math.nan), cell("dood", "b", "a", 1.0)]
    assert said(*cells, cell("air-difference", "a", "a", 1.0)) == {}


def test_the_papers_own_numbers_bear_out_its_claims_but_two():
    found = said(*papers("dood", "air-difference"))
    claims = [text for text, _ in found]
    assert sum(text.startswith(OVER_AIR) for text in claims) == 25
    assert sum(text.endswith("best of its column") for text in claims) == 10
    assert sum(text.endswith("worst sources") for text in claims) == 2
    assert [key for key, (_, _, holds) in found.items() if not holds] == [
        ("air-difference: the diagonal is the best of its column", "omniglot; next best emnist"),
        (f"{OVER_AIR}, within a data set", "emnist to emnist"),
    ]


def test_the_papers_own_numbers_differ_from_themselves_by_nothing():
    found = transfer.against_paper(table(*papers("dood", "air-difference")))
    assert len(found) == 50 + 5
    assert (found[found.figure == "Fig. 4"].difference == 0).all()
    assert not found.above_paper[found.figure == "Fig. 4"].any()


def test_an_empty_corner_gives_tables_without_rows():
    found = transfer.claims(table(cell("dood", "a", "a", 1.0), blank("a", "a")))
    assert found.empty
    assert list(found) == [
        "model", "claim", "where", "paper", "value", "against", "se", "holds",
    ]  # fmt: skip
