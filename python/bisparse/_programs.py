# SPDX-License-Identifier: Apache-2.0
"""Training and export: calls of the programs bisparse-train and bisparse-export."""
import csv
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time

from ._native import ConfigurationError, DataError, Error


class Run:
    """A run folder that bisparse-train wrote. `metrics`: a dict for each epoch, its keys as docs/json.md says."""

    def __init__(self, folder):
        self.folder = os.fspath(folder)

    def __fspath__(self):
        return self.folder

    def __repr__(self):
        return f"<bisparse.Run {self.folder}>"

    @property
    def metrics(self):
        try:
            with open(os.path.join(self.folder, "metrics.csv"), newline="") as file:
                rows = list(csv.DictReader(file))
        except FileNotFoundError:
            return []
        return [{key: float(value) if value else None for key, value in row.items()} for row in rows]


def _program(name):
    """Beside a build's own module, in the folder BISPARSE_PROGRAMS, or in PATH."""
    folders = [os.environ.get("BISPARSE_PROGRAMS"),
               os.path.join(os.path.dirname(__file__), "..", "..", "bin")]
    for folder in folders:
        if folder and os.access(os.path.join(folder, name), os.X_OK):
            return os.path.join(folder, name)
    found = shutil.which(name)
    if not found:
        raise Error(f"{name} is not in PATH (hint: build it, and let BISPARSE_PROGRAMS be its folder)")
    return found


def _settings(values, prefix=""):
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _settings(value, f"{prefix}{key}.")
        else:
            if hasattr(value, "tolist"):  # NumPy's numbers and arrays
                value = value.tolist()
            elif isinstance(value, os.PathLike):
                value = os.fspath(value)
            yield f"{prefix}{key}={json.dumps(value, ensure_ascii=False)}"


def _call(arguments, each_moment=lambda: None):
    with tempfile.TemporaryFile("w+", errors="replace") as said:
        process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=said)
        try:
            while process.poll() is None:
                each_moment()
                time.sleep(0.05)
        except BaseException:  # Ctrl-C, or what progress raised: the batch is finished, last.pt written
            process.send_signal(signal.SIGINT)
            process.wait()
            raise
        each_moment()
        if process.returncode:
            said.seek(0)
            lines = said.read().strip().splitlines()
            kind = {2: ConfigurationError, 3: DataError}.get(process.returncode, Error)
            message = "\n".join(lines[-20:])
            raise kind(message or f"{arguments[0]} ended with {process.returncode}")


def train(config, *, out=None, progress=None, resume=False, force=False, **overrides):
    """Trains the network of a configuration by bisparse-train, and returns its Run.

    config: a YAML file, or a dict with the same keys. out: the run folder, runs/<name> by default.
    progress: called with a dict (docs/json.md, metrics.csv) after each epoch; what it raises ends the training in order.
    overrides: further settings, train={"epochs": 3} or **{"train.epochs": 3}.
    Raises ConfigurationError, DataError, Error with the program's message.
    """
    with tempfile.TemporaryDirectory() as folder:
        if isinstance(config, dict):
            path = os.path.join(folder, "config.yaml")
            with open(path, "w") as file:
                json.dump(config, file)  # JSON is YAML
        else:
            path = os.fspath(config)
        if out is None:
            name = config.get("name") if isinstance(config, dict) else None
            name = overrides.get("name", name) or os.path.splitext(os.path.basename(path))[0]
            out = os.path.join("runs", name)
        run = Run(out)
        told = len(run.metrics) if resume else 0

        def tell():
            nonlocal told
            rows = run.metrics
            if len(rows) < told:
                told = 0
            for row in rows[told:]:
                told += 1
                progress(row)

        arguments = [_program("bisparse-train"), path, "--out", run.folder]
        for setting in _settings(overrides):
            arguments += ["--set", setting]
        arguments += ["--resume"] * resume + ["--force"] * force
        if force and progress:  # the old run's rows are not news
            told = len(run.metrics)
        _call(arguments, tell if progress else lambda: None)
    return run


def export(run, path, *, format="f32"):
    """Packs a run into the model file `path` by bisparse-export, verified against the trained network.

    run: a Run or its folder. format: "f32" or "int8". Returns the path.
    """
    _call([_program("bisparse-export"), os.fspath(run), "-o", os.fspath(path), "--format", format])
    return os.fspath(path)
