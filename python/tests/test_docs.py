# SPDX-License-Identifier: Apache-2.0
"""The snippets of docs/python.md and README.md run, one after another."""
import re
import shutil

import numpy as np
import pytest

import bisparse
from bisparse import _programs


def has_programs():
    try:
        return bool(_programs._program("bisparse-train") and _programs._program("bisparse-export"))
    except bisparse.Error:
        return False


def snippets(path):
    found = re.findall(r"```python\n(.*?)```", path.read_text(), re.S)
    assert found, f"{path} has no Python"
    return found


def test_docs_python(source, golden, tmp_path, monkeypatch, capsys):
    shutil.copy(golden / "small.bisparse", tmp_path / "m.bisparse")
    monkeypatch.chdir(tmp_path)
    scope = {}
    for snippet in snippets(source / "docs" / "python.md"):
        if "bisparse.train" in snippet and not has_programs():
            continue  # an engine alone was built
        exec(compile(snippet, "docs/python.md", "exec"), scope)
    assert "conv" in capsys.readouterr().out


def test_readme(source, golden, tmp_path, monkeypatch):
    shutil.copy(golden / "small.bisparse", tmp_path / "m.bisparse")
    monkeypatch.chdir(tmp_path)
    for snippet in snippets(source / "README.md"):
        exec(compile(snippet, "README.md", "exec"), {})


@pytest.mark.skipif(not has_programs(), reason="the programs were not built")
def test_training_tells_epochs_and_raises_what_the_program_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    labels = np.arange(60) % 2
    np.save("x.npy", np.random.default_rng(1).normal(size=(60, 4)) + 3 * labels[:, None])
    np.save("y.npy", labels)
    config = {"data": {"type": "npy", "train_x": "x.npy", "train_y": "y.npy", "input": [1, 1, 4],
                       "class_names": ["a", "ä"]},
              "network": [{"linear": {"units": "classes"}}]}
    rows = []
    run = bisparse.train(config, out="run", progress=rows.append, **{"train.epochs": np.int64(3)}, seed=1)
    assert [row["epoch"] for row in rows] == [1, 2, 3] == [row["epoch"] for row in run.metrics]
    engine = bisparse.Engine(bisparse.export(run, tmp_path / "m.bisparse"))
    assert engine.class_names == ["a", "ä"] and engine(np.zeros(4)).shape == (2,)
    with pytest.raises(bisparse.ConfigurationError, match="epochz"):
        bisparse.train(config, out="other", train={"epochz": 3})
    with pytest.raises(bisparse.DataError, match="nowhere.npy"):
        bisparse.train(config, out="other", **{"data.train_x": "nowhere.npy"})
    with pytest.raises(RuntimeError, match="stop"):
        bisparse.train(config, out="third", progress=lambda row: (_ for _ in ()).throw(RuntimeError("stop")),
                       train={"epochs": 100000})
    assert (tmp_path / "third" / "last.pt").exists()
