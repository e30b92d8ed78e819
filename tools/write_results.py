#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes docs/results.json, docs/results.md, docs/noise.svg and the README's table from the runs' own files.

  tools/write_results.py RUNS

RUNS is what tools/train_results.sh fills: folders <config>-seed<N> with log/summary.json (bisparse-train), validation.json,
perturbed.json, test_f32.json and so on with their *_clips.json (bisparse-evaluate; of the exported files, through the engine),
the same of models/ in models/<config>, bench/*.json (bisparse-bench) and noise.json. Figures are kept in docs/runs.json and
docs/predictions.json, which are checked in: a table may be of runs on several machines, as long as their configuration is today's.
Parts that RUNS has nothing of (noise, speed, the ablation) stay as they are. Only the Python standard library is used, and
gnuplot for the curves. Past 400 lines with its tables: each function is a part of the page, in its order.
"""
import csv
import hashlib
import json
import math
import pathlib
import re
import statistics
import subprocess
import sys

from results_predictions import CLASSES, Predictions, SPLITS
from results_statistics import ClipSet, apart, binomial_error, binomial_interval, correlation, difference, interval, over_seeds, seeds_apart
from results_table import ROOT, block, find_block, folders_by_name, mean_text, merge_runs, put_mean, read_json, replace_block

ORDER = ["gsc_dense", "gsc_small_dense", "gsc_ds_cnn", "gsc_sparse_dense", "gsc_paper", "gsc_aligned", "gsc_sparser", "gsc_pooled", "gsc_fast",
         "gsc_resnet", "gsc_resnet_sparse", "gsc_mobilenet", "gsc_bc_resnet", "gsc_coarse"]
REFERENCE = "gsc_dense"
# Key of a row: file of bisparse-evaluate, split of docs/predictions.json.
ACCURACIES = {"validation": ("validation", "validation"), "validation_int8": ("validation_int8", "validation_int8"),
              "validation_perturbed": ("perturbed", "perturbed"), "test": ("test_f32", "test"), "test_int8": ("test_int8", "test_int8")}
TITLES = {"validation": "validation %", "validation_int8": "int8 %", "validation_perturbed": "perturbed %", "test": "test %",
          "test_int8": "test int8 %"}
# Key of a row: key of `open_set.at_90_found` in test_int8.json.
ACCEPTED = {"unknown_accepted_int8": "unknown_accepted", "folder_accepted_int8": "folder_accepted"}
COPIES = 5
PEERS = {"onednn_int8": "oneDNN", "onnxruntime_int8": "ONNX Runtime"}


# What the runs say.

def read_config(folder):
    """Settings of a run that its summary does not have: learning rate and teachers' folders."""
    text = (folder / "config.yaml").read_text() if (folder / "config.yaml").exists() else ""
    rate = re.search(r"^  learning_rate: (\S+)", text, re.M)
    teachers = re.search(r"^  teacher: \[(.*)\]", text, re.M) or re.search(r"^  teacher: ([^\[\s\"].*)", text, re.M)
    return float(rate[1]) if rate else None, [t.strip(' "') for t in teachers[1].split(",") if t.strip(' "')] if teachers else []


def file_digest(path):
    """As bisparse-train gives it for teachers: the first 16 digits of SHA-256."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16] if path.exists() else None


def read_row(folder, runs):
    summary = read_json(folder / "log/summary.json")
    row = {}
    for key, (file, _) in ACCURACIES.items():
        evaluation = read_json(folder / f"{file}.json")
        row[key] = None if evaluation is None else 100 * evaluation["accuracy"]
    if not (summary and summary["finished"]) or row["validation"] is None or row["test"] is None:
        return None
    row.update({key: summary.get(key) for key in ("nonzeros", "minutes", "threads", "epochs", "clips_per_second", "machine_load")})
    row.update(read_accepted(folder))
    row["time_shares"] = read_shares(folder)
    row["learning_rate"], teachers = read_config(folder)
    known = {teacher["run"]: teacher["digest"] for teacher in summary.get("teachers", [])}
    row["teachers"] = [{"run": pathlib.Path(t).name, "digest": known.get(t) or file_digest(pathlib.Path(t) / "best.pt")} for t in teachers]
    row["network"] = file_digest(folder / "best.pt")
    # Runs of a version that did not say so: RUNS/code names it.
    code = runs / "code"
    row["code"] = summary.get("code") or (code.read_text().strip() if code.exists() else None)
    row["keep"] = "last"  # what tools/train_results.sh exports
    row["digest"] = hashlib.sha256(json.dumps([row["teachers"], row["code"], row["keep"]]).encode()).hexdigest()[:16]
    return row


def read_accepted(folder):
    """Other words that are taken for a word where 90 % of the words are found; per cent, without what the run does not say."""
    at = ((read_json(folder / "test_int8.json") or {}).get("open_set") or {}).get("at_90_found") or {}
    return {key: 100 * at[name] for key, name in ACCEPTED.items() if at.get(name) is not None}


def read_runs(runs, predictions):
    """{config: {seed: row}} of runs that were trained, exported and evaluated, here or as docs/runs.json has them; accuracies in
    per cent, None if not there. What they answered goes to `predictions`."""
    runs, table = pathlib.Path(runs), {}
    for name, folders in folders_by_name(runs).items():
        for seed, folder in folders.items():
            row = read_row(folder, runs)
            if row is not None:
                table.setdefault(name, {})[seed] = row
                add_predictions(predictions, name, seed, folder)
    for folder in sorted((runs / "models").glob("*")):
        add_predictions(predictions, folder.name, "model", folder)
    for name in sorted({*table, *ORDER}):
        if (ROOT / f"configs/{name}.yaml").exists():
            table[name] = merge_runs(name, name, table.get(name, {}))
    networks = {row.get("network") for row in table.get(REFERENCE, {}).values()}
    for name in table:
        # A teacher that was trained again is another one.
        table[name] = {seed: row for seed, row in table[name].items()
                       if all(t["digest"] in networks or t["digest"] is None for t in row.get("teachers") or [])}
    return {name: rows for name, rows in table.items() if rows}


def add_predictions(predictions, name, seed, folder):
    for file, kind in ACCURACIES.values():
        clips = read_json(folder / f"{file}_clips.json")
        if clips:
            predictions.add(name, seed, kind, clips)


def read_shares(folder):
    """Parts of a run's time, in per cent: fetching data, forward, backward with the step of the optimiser. None if the run
    does not say."""
    if not (folder / "metrics.csv").exists():
        return None
    with open(folder / "metrics.csv", newline="") as file:
        epochs = list(csv.DictReader(file))
    total = sum(float(epoch["seconds"]) for epoch in epochs)
    if total == 0 or "data_seconds" not in epochs[0]:
        return None
    return {part: round(100 * sum(float(epoch[f"{part}_seconds"]) for epoch in epochs) / total) for part in ("data", "forward", "backward")}


def in_use(rows):
    """Rows that the page averages: those with every answer kept, of one recipe. Networks without any have their earlier rows."""
    return {seed: row for seed, row in rows.items() if row.get("code")} or rows


class Figures:
    """Every interval of the page."""

    def __init__(self, table, predictions):
        self.table = {name: in_use(rows) for name, rows in table.items()}
        self.predictions = predictions
        self.lists = {}  # {(kind, metric, name): repetitions}
        self.one_run = {}  # {kind: (accuracy, its standard error over voices) of one run of the yardstick}
        self.sets = {}
        for kind in SPLITS:
            clips = predictions.clips.get(SPLITS[kind])
            if clips is None:
                continue
            self.sets[kind] = ClipSet(predictions.classes, clips, COPIES if kind == "perturbed" else 1)
            for name in self.table:
                self.measure(kind, name)

    def measure(self, kind, name):
        kept = self.predictions.runs.get(name, {})
        runs = {str(seed): kept[str(seed)][kind] for seed, row in self.table[name].items() if row.get("code") and kind in kept.get(str(seed), {})}
        if not runs and kind in kept.get("model", {}):
            runs = {"model": kept["model"][kind]}
        rates = {seed: self.sets[kind].rates(answers) for seed, answers in runs.items()}
        if rates:
            for metric in ("accuracy", "macro", "words", "unknown"):
                self.lists[kind, metric, name] = over_seeds({seed: values[metric] for seed, values in rates.items()}, name)
        if rates and name == REFERENCE:
            accuracies = next(iter(rates.values()))["accuracy"]
            self.one_run[kind] = accuracies[0], statistics.stdev(accuracies[1:])

    def is_earlier(self, name):
        return not any(row.get("code") for row in self.table[name].values())

    def accuracy(self, key, name):
        """(value, half width) or None."""
        if not self.is_earlier(name):
            values = self.lists.get((ACCURACIES[key][1], "accuracy", name))
            return interval(values) if values else None
        values = [row[key] for row in self.table[name].values() if row.get(key) is not None]
        if not values or key == "validation_perturbed":  # an earlier set of copies
            return None
        split = SPLITS[ACCURACIES[key][1]]
        clips = self.predictions.clips.get(split)
        return binomial_interval(values, len(clips["labels"]), self.design(split)) if clips else None

    def design(self, split):
        """Standard error over voices ÷ that of independent clips."""
        if split not in self.one_run:
            return 1.0
        accuracy, error = self.one_run[split]
        return error / binomial_error(accuracy, len(self.predictions.clips[split]["labels"]))

    def difference(self, key, name, to=REFERENCE):
        kind = ACCURACIES[key][1]
        if not (self.is_earlier(name) or self.is_earlier(to)):
            ours, theirs = self.lists.get((kind, "accuracy", name)), self.lists.get((kind, "accuracy", to))
            return difference(ours, theirs) if ours and theirs else None
        ours, theirs = self.accuracy(key, name), self.accuracy(key, to)
        return apart(ours, theirs) if ours and theirs else None

    def felt(self, metric, name, kind="test_int8"):
        values = self.lists.get((kind, metric, name))
        return interval(values) if values else None

    def confusions(self, name, kind="test_int8", count=4):
        """The most frequent wrong answers: parts of the true class, over the runs that keep their answers."""
        kept = self.predictions.runs.get(name, {})
        seeds = [str(s) for s, row in self.table[name].items() if row.get("code") and kind in kept.get(str(s), {})] or [s for s in ("model",) if kind in kept.get(s, {})]
        if not seeds or kind not in self.sets:
            return []
        clips, classes = self.sets[kind], self.predictions.classes
        counts = {}
        for seed in seeds:
            for label, answer in zip(clips.labels, kept[seed][kind]):
                if answer != ".":
                    pair = (label, CLASSES.index(answer))
                    counts[pair] = counts.get(pair, 0) + 1
        share = {pair: 100 * n / len(seeds) / len(clips.of_class[pair[0]]) for pair, n in counts.items()}
        return [(classes[a], classes[b], share[a, b]) for a, b in sorted(share, key=lambda pair: (-share[pair], pair))[:count]]


# The page.

def pm(value, digits=1):
    return "–" if value is None else f"{value[0]:.{digits}f} ± {value[1]:.{digits}f}"


def signed(value):
    return "–" if value is None else f"{value[0]:+.2f} ± {value[1]:.2f}"


def seeds_text(figures, name):
    rows = figures.table[name]
    return f"{len(rows)}" + ("°" if figures.is_earlier(name) else "")


def teacher_text(rows):
    """Which network taught: none, the yardstick of the same seed, or others."""
    texts = set()
    for seed, row in rows.items():
        if row.get("teachers") is None:
            texts.add("see 0007 to 0010")
        elif not row["teachers"]:
            texts.add("none")
        else:
            names = [t["run"] for t in row["teachers"]]
            texts.add(f"`{REFERENCE}`, same seed" if names == [f"{REFERENCE}-seed{seed}"] else ", ".join(names))
    return "; ".join(sorted(texts))


def minutes_text(rows):
    """Median of the runs that had the machine to themselves; else of all, marked."""
    def alone(row):
        return row.get("machine_load") is not None and row["machine_load"] <= row["threads"] + 0.5
    undisturbed = [row["minutes"] for row in rows.values() if alone(row)]
    return f"{statistics.median(undisturbed):.1f}" if undisturbed else f"{statistics.median(r['minutes'] for r in rows.values()):.1f} ᵇ"


def accuracy_table(figures, names):
    lines = ["| network | non-zero weights | " + " | ".join(TITLES.values()) + " | seeds | int8, µs |", "|---|---|" + "---|" * (len(TITLES) + 2)]
    for name in names:
        rows = figures.table[name]
        cells = " | ".join(pm(figures.accuracy(key, name)) for key in TITLES)
        nonzeros = round(statistics.mean(row["nonzeros"] for row in rows.values()))
        lines.append(f"| `{name}` | {nonzeros:,} | {cells} | {seeds_text(figures, name)} | {latency_text(name)} |")
    return lines


def accepted_text(rows, key):
    """Mean over the runs that say so, and its standard deviation."""
    entry = {}
    put_mean(entry, key, [row[key] for row in rows.values() if row.get(key) is not None])
    return mean_text(entry, key)


def felt_table(figures, names):
    lines = ["| network | words recognised % | unknown words rejected % | recall of all classes % | unknown accepted % | other words accepted % | most frequent confusions, % of the true class | of |",
             "|---|---|---|---|---|---|---|---|"]
    for name in names:
        if figures.felt("words", name) is None:
            continue
        confusions = ", ".join(f"{a} → {b} {share:.0f}" for a, b, share in figures.confusions(name))
        of = "one file°" if figures.is_earlier(name) else f"{len(figures.table[name])} seeds" if len(figures.table[name]) > 1 else "1 seed"
        lines.append(f"| `{name}` | {pm(figures.felt('words', name))} | {pm(figures.felt('unknown', name))} | {pm(figures.felt('macro', name))} | "
                     f"{' | '.join(accepted_text(figures.table[name], key) for key in ACCEPTED)} | {confusions.replace('_', chr(92) + '_')} | {of} |")
    return lines


def difference_table(figures, names):
    keys = ("validation", "validation_perturbed", "test", "test_int8")
    lines = ["| network | validation | perturbed | test | test int8 |", "|---|---|---|---|---|"]
    for name in names:
        if name != REFERENCE:
            mark = "°" if figures.is_earlier(name) or figures.is_earlier(REFERENCE) else ""
            lines.append(f"| `{name}`{mark} | " + " | ".join(signed(figures.difference(key, name)) for key in keys) + " |")
    return lines


def recipe_table(figures, names):
    lines = ["| network | teacher | learning rate | epochs | weights kept | minutes a run | code |", "|---|---|---|---|---|---|---|"]
    for name in names:
        rows = figures.table[name].values()
        rates = sorted({row.get("learning_rate") or config_rate(name) for row in rows})
        keeps = sorted({row.get("keep") or "best" for row in rows})
        codes = sorted({row.get("code") or "earlier" for row in rows})
        lines.append(f"| `{name}` | {teacher_text(figures.table[name])} | {', '.join(map(str, rates))} | {', '.join(sorted({str(r['epochs']) for r in rows}))} | "
                     f"{', '.join(keeps)} | {minutes_text(figures.table[name])} | {', '.join(codes)} |")
    return lines


def config_rate(name):
    rate = re.search(r"^  learning_rate: (\S+)", (ROOT / f"configs/{name}.yaml").read_text(), re.M)
    return float(rate[1])


def runs_table(table, names):
    lines = ["| network | seed | epochs | " + " | ".join(TITLES.values()) + " | teacher | minutes | threads | load | |", "|---|---|---|" + "---|" * (len(TITLES) + 5)]
    for name in names:
        used = in_use(table[name])
        for seed, row in sorted(table[name].items()):
            cells = " | ".join("–" if row.get(key) is None or (key == "validation_perturbed" and not row.get("code")) else f"{row[key]:.2f}" for key in TITLES)
            marks = []
            if not row.get("code"):
                marks.append("earlier" if seed in used else "earlier, not in the tables above")
                if all(row.get(key) is None or round(row[key], 2) == row[key] for key in TITLES):
                    marks.append("rounded")
            load = row.get("machine_load")
            lines.append(f"| `{name}` | {seed} | {row['epochs']} | {cells} | {teacher_text({seed: row})} | {row['minutes']:.1f} | {row['threads']} | "
                         f"{'–' if load is None else f'{load:.1f}'} | {', '.join(marks)} |")
    return lines


def training_table(table, names):
    """Throughput, and where the time goes; means over the seeds that say so."""
    lines = []
    for name in names:
        rows = [row for row in table[name].values() if row.get("time_shares") and row.get("clips_per_second")]
        if rows:
            shares = [statistics.mean(row["time_shares"][part] for row in rows) for part in ("data", "forward", "backward")]
            rate = statistics.mean(row["clips_per_second"] for row in rows)
            lines.append(f"| `{name}` | {rate:,.0f} | " + " | ".join(f"{share:.0f}" for share in shares) + f" | {len(rows)} |")
    if not lines:
        return []
    return ["", "Training throughput, with the threads that the runs had and other work on the machine beside, and where the time goes:", "",
            "| network | clips/s | data % | forward % | backward % | runs |", "|---|---|---|---|---|---|", *lines]


# Speed.

speed = {}  # docs/results.json's "speed": {"machine": …, "networks": {name: {…}}}


def latency_text(name):
    return f"{speed['networks'][name]['int8']:.1f}" if name in speed.get("networks", {}) else "–"


def read_speed(runs, names, old):
    """From bench/ where it is there, else what docs/results.json has."""
    networks, machine = {}, ""
    for name in names:
        f32, int8, paper = (read_json(pathlib.Path(runs) / "bench" / f"{name}-{kind}.json") for kind in ("f32", "int8", "paper"))
        if not (f32 and int8 and paper):
            continue
        machine = f"{int8['machine']}, kernels {int8['isa']}"
        networks[name] = {"f32": f32["modes"]["sparse_sparse"]["median_us"], "int8": int8["modes"]["sparse_sparse"]["median_us"],
                          "dense_int8": int8["modes"]["dense"]["median_us"]}
        networks[name].update({key: peer["median_us"] for key, peer in int8.get("peers", {}).items()})
        against = paper["peers"].get("onednn_f32")
        if against:
            networks[name]["paper"] = [against["ratio"], against["ratio_p10"], against["ratio_p90"]]
    return {"machine": machine, "networks": networks} if networks else old


def speed_table():
    lines = [f"Machine: {speed['machine']}; one thread, one sample, µs. Peers run the network's dense form with ReLU. The last column: "
             f"the paper's dense network (`{REFERENCE}`) in oneDNN f32 ÷ ours in int8, in one run "
             "(`bisparse-bench MODEL --peers onednn --peer-model GSC_DENSE`), with its 10th and 90th percentile.", "",
             "| network | ours f32 | ours int8 | our dense int8 | oneDNN f32 | oneDNN int8 | ORT f32 | ORT int8 | paper's dense ÷ ours |",
             "|---|---|---|---|---|---|---|---|---|"]
    for name, us in speed["networks"].items():
        def peer(key, us=us):
            return f"{us[key]:.0f}" if key in us else "–"
        ratio = "{:.1f}× ({:.1f}–{:.1f})".format(*us["paper"]) if "paper" in us else "–"
        lines.append(f"| `{name}` | {us['f32']:.1f} | {us['int8']:.1f} | {us['dense_int8']:.1f} | {peer('onednn_f32')} | {peer('onednn_int8')} | "
                     f"{peer('onnxruntime_f32')} | {peer('onnxruntime_int8')} | {ratio} |")
    return lines


def us_text(us):
    return "–" if us is None else f"{us:.1f}" if us < 10 else f"{us:.0f}"


def alike_table(figures):
    """Equal accuracy, equal number format, each network in the engine that is fastest for it."""
    names = [n for n in (REFERENCE, "gsc_pooled", "gsc_fast") if n in figures.table and n in speed.get("networks", {})]
    if len(names) < 2:
        return []
    fastest = {}
    lines = ["| network, int8 | test % | against `gsc_dense`, points | ours, µs | oneDNN, µs | ONNX Runtime, µs | fastest: `gsc_dense` ÷ this |", "|---|---|---|---|---|---|---|"]
    for name in names:
        us = speed["networks"][name]
        times = {"ours": min(us["int8"], us["dense_int8"]), **{title: us[key] for key, title in PEERS.items() if key in us}}
        fastest[name] = min(times.values())
        cells = " | ".join(us_text(times.get(t)) for t in ("ours", *PEERS.values()))
        against = "" if name == REFERENCE else signed(figures.difference("test_int8", name))
        lines.append(f"| `{name}` | {pm(figures.accuracy('test_int8', name))} | {against} | {cells} | {fastest[REFERENCE] / fastest[name]:.1f}× |")
    return lines


def alike_text(figures):
    us = speed["networks"]
    if not all(name in us and name in figures.table for name in (REFERENCE, "gsc_pooled", "gsc_fast")):
        return []
    pooled, dense, fast = us["gsc_pooled"], us[REFERENCE], us["gsc_fast"]
    ours = min(dense["int8"], dense["dense_int8"])
    within = [name for name in ("gsc_pooled", "gsc_fast") if (d := figures.difference("test_int8", name)) and abs(d[0]) <= d[1]]
    beyond = [name for name in ("gsc_pooled", "gsc_fast") if name not in within]
    equal = " ".join([f"`{name}` is as accurate as `{REFERENCE}` within the interval." for name in within] +
                     [f"`{name}` is not as accurate as `{REFERENCE}`: the difference is beyond its interval." for name in beyond])
    return [f"{equal} `gsc_pooled`, sparse in weights and activations, takes {pooled['int8']:.1f} µs. `gsc_dense` takes {dense['onednn_int8']:.0f} µs in oneDNN "
            f"({dense['onednn_int8'] / pooled['int8']:.1f}×), {dense['onnxruntime_int8']:.0f} µs in ONNX Runtime ({dense['onnxruntime_int8'] / pooled['int8']:.1f}×) and "
            f"{ours:.0f} µs in our engine ({ours / pooled['int8']:.1f}×). "
            f"`gsc_fast`, a compact dense network, is faster still in our engine: {fast['int8']:.1f} µs. Other engines take {fast['onednn_int8']:.0f} and "
            f"{fast['onnxruntime_int8']:.0f} µs for it, longer than ours for `gsc_pooled`."]


def paper_text(figures):
    us = speed.get("networks", {}).get("gsc_aligned", {})
    if "paper" not in us or "gsc_aligned" not in figures.table:
        return []
    return ["The paper's own comparison divides a dense network in f32 by a sparse one in 8 bits. Ours of that kind: `gsc_dense` in oneDNN f32 "
            f"({pm(figures.accuracy('test', REFERENCE))} % of the test) ÷ `gsc_aligned` in our int8 ({pm(figures.accuracy('test_int8', 'gsc_aligned'))} %) is "
            "{:.1f}× ({:.1f}–{:.1f}). ".format(*us["paper"]) + "Neither the accuracy nor the number format is the same."]


# Noise.

def noise_rows(noise):
    """{name: [models of its seeds]}"""
    table = {}
    for model in noise["models"]:
        table.setdefault(re.sub(r"-seed\d+$", "", pathlib.Path(model["model"]).parent.name), []).append(model)
    return table


def noise_section(runs, design):
    noise = read_json(pathlib.Path(runs) / "noise.json")
    if noise is None:
        return []
    table = noise_rows(noise)
    names = [name for name in ORDER if name in table]
    alphas = noise["models"][0]["alphas"]

    def at(name, i):
        return binomial_interval([100 * model["accuracies"][i] for model in table[name]], table[name][0]["samples"], design)
    lines = ["## Noise", "",
             "Test accuracy in % against white noise in the waveform, A' = (1 − α)·A + α·U[−1, 1]. The noise is the same for every network. "
             "The score counts right answers over all levels (Ahmad, Scheinkman 2019). Mean over the seeds; ± is half the 95 % interval over "
             "seeds and clips. Command: `bisparse-evaluate MODEL… --noise`.", "",
             "| α | " + " | ".join(f"`{name}`, {len(table[name])} seed{'s' * (len(table[name]) > 1)}" for name in names) + " |", "|---|" + "---|" * len(names)]
    for i, alpha in enumerate(alphas):
        lines.append(f"| {alpha:.2f} | " + " | ".join(pm(at(name, i)) for name in names) + " |")
    lines.append("| score | " + " | ".join(score_text([model["score"] for model in table[name]]) for name in names) + " |")
    for name in names:
        scores = [[model["score"] for model in table[n]] for n in (name, REFERENCE) if n in table]
        apart_by = seeds_apart(*scores) if name != REFERENCE and len(scores) == 2 else None
        if apart_by:
            lines += ["", f"Score of `{name}` minus that of `{REFERENCE}`: {apart_by[0]:+.0f} ± {apart_by[1]:.0f} (95 % over the seeds; clips and noise are the same)."]
    draw_noise(names, alphas, at)
    return [*lines, "", "![The same as a plot](noise.svg)"]


def score_text(scores):
    sd = f" ± {statistics.stdev(scores):.0f} (standard deviation)" if len(scores) > 1 else ""
    return f"{statistics.mean(scores):.0f}{sd}"


def draw_noise(names, alphas, at):
    script = ["set terminal svg size 700,450 noenhanced background rgb 'white'", f"set output '{ROOT / 'docs/noise.svg'}'", "set grid",
              "set title 'Accuracy against white noise'", "set xlabel 'a in (1 - a) A + a U[-1, 1]'", "set ylabel 'accuracy, %'"]
    plots = []
    for k, name in enumerate(names):
        script += [f"$d{k} << EOD", *(f"{alpha} {at(name, i)[0]} {at(name, i)[1]}" for i, alpha in enumerate(alphas)), "EOD"]
        plots.append(f"$d{k} using 1:2:3 with yerrorlines title '{name}'")
    try:
        subprocess.run(["gnuplot"], input="\n".join([*script, "plot " + ", ".join(plots)]) + "\n", text=True, check=True)
    except FileNotFoundError:
        sys.exit("gnuplot is not installed (hint: cmake/install_packages.sh)")


# Together.

def summarise(figures, name):
    entry = {key: figures.accuracy(key, name) for key in TITLES}
    entry.update({metric: figures.felt(metric, name) for metric in ("words", "unknown", "macro")})
    entry["difference"] = {key: figures.difference(key, name) for key in TITLES if name != REFERENCE}
    rounded = json.loads(json.dumps(entry), parse_float=lambda x: round(float(x), 2))
    rows = figures.table[name]
    for key in ACCEPTED:
        put_mean(rounded, key, [row[key] for row in rows.values() if row.get(key) is not None])
    return {**rounded, "confusions": [[a, b, round(s, 1)] for a, b, s in figures.confusions(name)], "nonzeros": round(statistics.mean(r["nonzeros"] for r in rows.values())),
            "seeds": sorted(rows), "earlier": figures.is_earlier(name)}


def error_text(figures):
    """Standard errors, and what pairing by seed would buy; all computed."""
    text = ""
    if {"validation", "test"} <= set(figures.one_run):
        parts = []
        for split in ("validation", "test"):
            accuracy, error = figures.one_run[split]
            clips = len(figures.sets[split].labels)
            parts.append(f"{error:.2f} points on {split} ({clips:,} clips; {binomial_error(accuracy, clips):.2f} if they were independent)")
        text = f"Standard error of one run of `{REFERENCE}` over voices: {' and '.join(parts)}. "
    theirs = {seed: row["test"] for seed, row in figures.table[REFERENCE].items()}
    pooled = correlation([({seed: row["test"] for seed, row in rows.items()}, theirs) for name, rows in figures.table.items() if name != REFERENCE])
    return text + "Networks are not paired by seed" + (f": the correlation of their test accuracy with that of `{REFERENCE}` at the same seed is {pooled[0]:.1f} ({pooled[1]} runs)." if pooled else ".")


def page(figures, table, names, runs, text):
    def part(name, lines):
        """Today's lines between marks, or the part that is there."""
        found = block(name, lines) if lines else find_block(text, name)
        return ["", found] if found else []

    earlier = [name for name in names if figures.is_earlier(name)]
    alike = alike_table(figures)
    lines = ["# Results", "", "Written by `tools/write_results.py` from the runs' own files; not edited by hand. Command: `tools/train_results.sh DATA RUNS SEEDS…`", "",
             "Data: the ten-class part of Speech Commands described in the README (`bed cat down go happy left right up`, `_unknown_`, `_silence_`). "
             "Networks are chosen on validation, clean and perturbed. The test set is read once for each network, number format and seed. Figures are of "
             "the exported file, through the engine.", ""]
    if alike:
        lines += ["## Like with like", "", "Networks of about equal accuracy, int8 everywhere, one sample, one thread; each engine runs the network as well as it can. Peers run a sparse network's dense form. "
                  "Times are of the table under Speed.", "", *alike, "", *alike_text(figures), "", *paper_text(figures), ""]
    lines += ["## Accuracy", "", "Mean over the seeds ± half the 95 % interval, by a bootstrap over voices and seeds (`tools/results_statistics.py`; "
              "[decision 0012](decisions/0012-choosing-and-intervals.md)). With one seed the interval is of the clips alone. " + error_text(figures), "",
              "Perturbed: five copies of the validation clips, each changed in another way, three of them ways that training never takes (`data/augment.h`). "
              "int8, µs: one sample, one thread.", "", *accuracy_table(figures, names), ""]
    if earlier:
        lines += ["° Rows of earlier runs, whose answers were not kept: the interval is from the spread over seeds and the binomial error of the clips; "
                  "the epoch is the best on validation, teachers as decisions 0007 to 0010 say.", ""]
    lines += ["## What a user feels", "", "Of the int8 files on the test. Words recognised: mean recall of the eight words. Unknown words rejected: part of the clips of other words that are "
              "not taken for one of the eight. Unknown accepted, other words accepted: part of the clips of other words (of the test; of the folder OTHER that "
              "`tools/train_results.sh` was given) whose score reaches the threshold at which 90 % of the words' clips are found ([json.md](json.md), `open_set`); mean ± standard deviation over the "
              "seeds, – where no run says so." + (" °: the network's file in models/, one seed." if earlier else ""), "", *felt_table(figures, names), "",
              "## Differences", "", f"Each network minus `{REFERENCE}` in points, ± half the 95 % interval. Clips are drawn for both networks together, seeds of each independently." +
              (" °: seeds and clips as if the two networks were independent, which is too wide." if earlier else ""), "", *difference_table(figures, names), "",
              "## Recipes", "", "All networks have the data, augmentation, batch size, optimiser and schedule of `configs/gsc_dense.yaml`. What differs stands here. "
              "Minutes: median of the runs that had the machine to themselves (its load average is in their summary); ᵇ: no run had, the median is of runs beside other work.", "",
              *recipe_table(figures, names), "", "## Runs", "", *runs_table(table, names), *training_table(table, names),
              *part("noise", noise_section(runs, figures.design("test")))]
    if speed:
        lines += ["", "## Speed", "", *speed_table()]
    return [*lines, *part("ablation", [])]


def readme_table(figures):
    alike = alike_table(figures)
    if alike:
        replace_block(ROOT / "README.md", "alike", [*alike, "", *alike_text(figures), "", *paper_text(figures)])


def main():
    arguments = sys.argv[1:]
    if len(arguments) != 1 or arguments[0].startswith("-"):
        sys.exit(__doc__)
    predictions = Predictions(ROOT / "docs/predictions.json")
    table = read_runs(arguments[0], predictions)
    if not table:
        sys.exit(f"{arguments[0]}: no finished run (log/summary.json, validation.json, test_f32.json)")
    predictions.keep_only({name: {str(seed) for seed, row in rows.items() if row.get("code")} or {"model"} for name, rows in table.items()})
    predictions.write()
    names = [n for n in ORDER if n in table] + sorted(set(table) - set(ORDER))
    json_path, document = ROOT / "docs/results.json", ROOT / "docs/results.md"
    old = read_json(json_path) or {}
    speed.update(read_speed(arguments[0], names, old.get("speed", {})))
    figures = Figures(table, predictions)
    results = {name: summarise(figures, name) for name in names}
    json_path.write_text(json.dumps({**results, "speed": speed, **({"ablation": old["ablation"]} if "ablation" in old else {})}, indent=2) + "\n")
    text = document.read_text() if document.exists() else ""
    document.write_text("\n".join(page(figures, table, names, arguments[0], text)) + "\n")
    readme_table(figures)
    for name, entry in results.items():
        print(name, json.dumps({key: entry[key] for key in TITLES}))


if __name__ == "__main__":
    main()
