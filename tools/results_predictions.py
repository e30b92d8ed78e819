# SPDX-License-Identifier: Apache-2.0
"""docs/predictions.json: what each network answered to each clip, so that intervals can be computed again.

  {"clips": {"test": {"names": ["up/0132a06d_nohash_0.flac", …], "labels": "77…"}, "validation": …},
   "runs": {"gsc_dense": {"1": {"test": "..3.…", "test_int8": …, "validation": …, "perturbed": …}}}}

One character a clip: "." is right, a digit is the class that was answered. "perturbed" holds the validation clips copy after
copy. The key "model" instead of a seed is the file in models/, for networks without a run.
"""
import json
import pathlib
import re

CLASSES = "0123456789abcdefghijklmnopqrstuvwxyz"
SPLITS = {"validation": "validation", "validation_int8": "validation", "perturbed": "validation", "test": "test", "test_int8": "test"}


def encode(labels, predictions):
    return "".join("." if label == answer else CLASSES[answer] for label, answer in zip(labels, predictions, strict=True))


def clip_name(path):
    return "/".join(pathlib.PurePath(path).parts[-2:]) if "(" not in path else path


def speaker(name):
    """Clips of one voice are not independent. A clip without a speaker (a cut of background) is one of its own."""
    match = re.search(r"([^/]+)_nohash_\d+", name)
    return match[1] if match else None


class Predictions:
    """Reads and writes the file; `add` takes what bisparse-evaluate --predictions wrote."""

    def __init__(self, path):
        self.path = pathlib.Path(path)
        record = json.loads(self.path.read_text()) if self.path.exists() else {}
        self.classes, self.clips, self.runs = record.get("classes", []), record.get("clips", {}), record.get("runs", {})

    def add(self, name, seed, kind, evaluation):
        split = SPLITS[kind]
        labels = evaluation["labels"]
        if kind != "perturbed":
            clips = {"names": [clip_name(path) for path in evaluation["clips"]],
                     "labels": "".join(CLASSES[label] for label in labels)}
            if self.clips.setdefault(split, clips) != clips or self.classes not in ([], evaluation["classes"]):
                raise ValueError(f"{name} {seed} {kind}: other clips than those of {self.path}")
            self.classes = evaluation["classes"]
        self.runs.setdefault(name, {}).setdefault(str(seed), {})[kind] = encode(labels, evaluation["predictions"])

    def keep_only(self, seeds_by_name):
        """Drops runs that the results no longer have."""
        self.runs = {name: {seed: kinds for seed, kinds in runs.items() if seed in seeds_by_name.get(name, ())}
                     for name, runs in self.runs.items()}
        self.runs = {name: runs for name, runs in self.runs.items() if runs}

    def write(self):
        runs = ",\n".join(f" {json.dumps(name)}: {{\n" + ",\n".join(f"  {json.dumps(seed)}: {json.dumps(kinds)}" for seed, kinds in sorted(entry.items())) + "\n }"
                          for name, entry in sorted(self.runs.items()))
        clips = ",\n".join(f" {json.dumps(split)}: {json.dumps(entry)}" for split, entry in sorted(self.clips.items()))
        self.path.write_text(f'{{\n"classes": {json.dumps(self.classes)},\n"clips": {{\n{clips}\n}},\n"runs": {{\n{runs}\n}}\n}}\n')
