"""The cost of a training step over its sizes."""

import numpy as np
import pandas as pd
import pytest

from doodcli.experiments import scaling
from tests.command import dood


def test_memory_of_a_step_grows_with_every_size_and_in_a_straight_line(capsys, tmp_path):
    made = dood(capsys, "bench", "scaling", "--quick", "--device", "cpu", "--out", tmp_path, "-q")
    assert made.code == 0, made
    assert {path.name for path in tmp_path.iterdir()} == {
        "scaling.csv", "scaling.png", "scaling.pdf",
    }  # fmt: skip
    table = pd.read_csv(tmp_path / "scaling.csv")
    assert list(table.setting.unique()) == list(scaling.QUICK_AXES)
    for name, part in table.groupby("setting"):
        assert (part.milliseconds > 0).all()
        slope, fixed = np.polyfit(part.value, part.mebibytes, 1)
        assert slope > 0, name
        assert part.mebibytes.tolist() == pytest.approx(
            (fixed + slope * part.value).tolist(), rel=0.05
        )


def test_a_line_is_told_from_a_curve():
    value = np.array([1.0, 2, 4, 8])
    costs = {"straight": 3 + 2 * value, "bent": value**3}
    table = pd.concat(
        pd.DataFrame({"setting": name, "value": value, "milliseconds": cost})
        for name, cost in costs.items()
    ).reset_index(drop=True)
    for _, part in table.groupby("setting"):
        line = np.polyfit(part.value, part.milliseconds, 1)
        table.loc[part.index, "line_milliseconds"] = np.polyval(line, part.value)
    found = scaling.lines(table).set_index("setting")
    assert found.loc["straight"].to_dict() == pytest.approx(
        {"milliseconds_each": 2, "milliseconds_fixed": 3, "r_squared": 1, "farthest": 0}, abs=1e-9
    )
    assert found.loc["bent"].r_squared < 0.95
    assert found.loc["bent"].farthest > 0.2
