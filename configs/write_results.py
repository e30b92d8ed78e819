#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes docs/results.json, docs/results.md and the README's table from the runs' own files.

  configs/write_results.py RUNS

RUNS is what configs/train_results.sh fills: folders <config>-seed<N> with log/summary.json (bisparse-train), validation.json,
perturbed.json, test_f32.json and so on (bisparse-evaluate; of the exported files, through the engine), bench/*.json
(bisparse-bench) and noise.json. Their figures are kept in docs/runs.json, which is checked in: a table may be of runs on
several machines, as long as their configuration is today's. Parts that RUNS has nothing of (noise, speed, the ablation) stay
as they are. Only the Python standard library is used.
"""
import csv
import json
import pathlib
import statistics
import sys

from results_table import (ROOT, block, difference_text, find_block, folders_by_name, mean_text, merge_runs, paired_difference,
                           put_mean, read_json, replace_block)

ORDER = ["gsc_dense", "gsc_small_dense", "gsc_ds_cnn", "gsc_sparse_dense", "gsc_paper", "gsc_aligned", "gsc_sparser", "gsc_pooled", "gsc_fast",
         "gsc_coarse"]
ACCURACIES = {"validation": "validation.json", "validation_int8": "validation_int8.json", "validation_perturbed": "perturbed.json",
              "test": "test_f32.json", "test_int8": "test_int8.json"}


def read_runs(runs):
    """{config: {seed: row}} of runs that were trained, exported and evaluated, here or as docs/runs.json has them;
    accuracies in per cent, None if not there."""
    table = {}
    for name, folders in folders_by_name(runs).items():
        for seed, folder in folders.items():
            summary = read_json(folder / "log/summary.json")
            row = {}
            for key, file in ACCURACIES.items():
                evaluation = read_json(folder / file)
                row[key] = None if evaluation is None else 100 * evaluation["accuracy"]
            if summary and summary["finished"] and row["validation"] is not None and row["test"] is not None:
                row.update({key: summary.get(key) for key in ("nonzeros", "minutes", "threads", "epochs", "clips_per_second")})
                row["time_shares"] = read_shares(folder)
                table.setdefault(name, {})[seed] = row
    for name in sorted({*table, *ORDER}):
        if (ROOT / f"configs/{name}.yaml").exists():
            table[name] = merge_runs(name, name, table.get(name, {}))
    return {name: rows for name, rows in table.items() if rows}


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
    return ["", "Training throughput, with the threads that the runs had and another run beside on a second core, and where the time goes:", "",
            "| network | clips/s | data % | forward % | backward % | runs |", "|---|---|---|---|---|---|", *lines]


def summarise(rows):
    entry = {}
    for key in ACCURACIES:
        put_mean(entry, key, [row[key] for row in rows.values()])
    put_mean(entry, "nonzeros", [row["nonzeros"] for row in rows.values()], 0)
    entry["nonzeros"] = int(entry["nonzeros"])
    entry["seeds"] = len(rows)
    put_mean(entry, "minutes", [row["minutes"] for row in rows.values()], 1)
    return entry


def markdown_table(results):
    lines = ["| network | non-zero weights | validation % | int8 % | perturbed % | test % | test int8 % | seeds | minutes a run | int8, µs |",
             "|---|---|---|---|---|---|---|---|---|---|"]
    for name, entry in results.items():
        lines.append(f"| `{name}` | {entry['nonzeros']:,} | {mean_text(entry, 'validation')} | {mean_text(entry, 'validation_int8')} | "
                     f"{mean_text(entry, 'validation_perturbed')} | {mean_text(entry, 'test')} | {mean_text(entry, 'test_int8')} | "
                     f"{entry['seeds']} | {entry['minutes']:.1f} | {latency_text(entry)} |")
    return lines


def latency_text(entry):
    return "–" if entry.get("int8_us") is None else f"{entry['int8_us']:.1f}"


def difference_table(table, names, reference="gsc_dense"):
    """Each network minus the dense one, seed by seed."""
    if reference not in table or len(names) == 1:
        return []
    lines = [f"Difference to `{reference}`, seed by seed: mean and its 95 % interval, in points.", "",
             "| network | validation | perturbed | test | test int8 | seeds |", "|---|---|---|---|---|---|"]
    for name in names:
        if name == reference:
            continue
        cells = []
        for key in ("validation", "validation_perturbed", "test", "test_int8"):
            cells.append(difference_text(paired_difference({s: r[key] for s, r in table[name].items()},
                                                           {s: r[key] for s, r in table[reference].items()})))
        lines.append(f"| `{name}` | {' | '.join(cells)} | {len(set(table[name]) & set(table[reference]))} |")
    return [*lines, ""]


def noise_section(runs):
    noise = read_json(pathlib.Path(runs) / "noise.json")
    if noise is None:
        return []
    models = noise["models"]
    names = [pathlib.Path(model["model"]).parent.name for model in models]
    lines = ["## Noise", "",
             "Test accuracy in % against white noise in the waveform, A' = (1 − α)·A + α·U[−1, 1], the same noise for every "
             "network; the score counts right answers over all levels (Ahmad, Scheinkman 2019). Command: "
             "`bisparse-evaluate MODEL… --noise --plot docs/noise.svg`.", "",
             "| α | " + " | ".join(f"`{name}`" for name in names) + " |", "|---|" + "---|" * len(names)]
    for i, alpha in enumerate(models[0]["alphas"]):
        lines.append(f"| {alpha:.2f} | " + " | ".join(f"{100 * model['accuracies'][i]:.1f}" for model in models) + " |")
    lines.append("| score | " + " | ".join(str(model["score"]) for model in models) + " |")
    return [*lines, "", "![The same as a plot](noise.svg)"]


def bench_section(runs, names):
    """Lines of the speed section, and {network: µs of one sample in int8}."""
    lines, latency, machine = [], {}, ""
    for name in names:
        f32, int8, paper = (read_json(pathlib.Path(runs) / "bench" / f"{name}-{kind}.json") for kind in ("f32", "int8", "paper"))
        if not (f32 and int8 and paper):
            continue
        machine = f"{int8['machine']}, kernels {int8['isa']}"
        ours = int8["modes"]["sparse_sparse"]["median_us"]
        latency[name] = round(ours, 2)

        def peer(key, bench=int8):
            return f"{bench['peers'][key]['median_us']:.0f}" if key in bench.get("peers", {}) else "–"
        against = paper["peers"].get("onednn_f32")
        ratio = f"{against['ratio']:.1f}× ({against['ratio_p10']:.1f}–{against['ratio_p90']:.1f})" if against else "–"
        lines.append(f"| `{name}` | {f32['modes']['sparse_sparse']['median_us']:.1f} | {ours:.1f} | {int8['modes']['dense']['median_us']:.1f} | "
                     f"{peer('onednn_f32')} | {peer('onednn_int8')} | {peer('onnxruntime_f32')} | {peer('onnxruntime_int8')} | {ratio} |")
    if lines:
        lines = [f"## Speed\n\nMachine: {machine}; one thread, one sample, µs. Peers run the network's dense form with ReLU. The last column: "
                 "the paper's dense network (`gsc_dense`) in oneDNN f32 ÷ ours in int8, in one run "
                 "(`bisparse-bench MODEL --peers onednn --peer-model GSC_DENSE`), with its 10th and 90th percentile.\n",
                 "| network | ours f32 | ours int8 | our dense int8 | oneDNN f32 | oneDNN int8 | ORT f32 | ORT int8 | paper's dense ÷ ours |",
                 "|---|---|---|---|---|---|---|---|---|", *lines]
    return lines, latency


def main():
    arguments = sys.argv[1:]
    if not arguments or arguments[0].startswith("-"):
        sys.exit(__doc__)
    table = read_runs(arguments[0])
    if not table:
        sys.exit(f"{arguments[0]}: no finished run (log/summary.json, validation.json, test_f32.json)")
    names = [n for n in ORDER if n in table] + sorted(set(table) - set(ORDER))
    results = {name: summarise(table[name]) for name in names}
    json_path, document = ROOT / "docs/results.json", ROOT / "docs/results.md"
    old = read_json(json_path) or {}
    speed, latency = bench_section(arguments[0], names)
    for name in names:
        # The speed section is replaced as a whole, or stays.
        results[name]["int8_us"] = latency.get(name) if latency else old.get(name, {}).get("int8_us")
    everything = dict(results)
    if "ablation" in old:
        everything["ablation"] = old["ablation"]
    json_path.write_text(json.dumps(everything, indent=2) + "\n")
    text = document.read_text() if document.exists() else ""

    def part(name, lines):
        """Today's lines between marks, or the part that is there."""
        found = block(name, lines) if lines else find_block(text, name)
        return ["", found] if found else []

    lines = ["# Results", "",
             "Written by `configs/write_results.py` from the runs' own files; not edited by hand.", "",
             "Data: the ten-class part of Speech Commands described in the README (`bed cat down go happy left right up`, "
             "`_unknown_`, `_silence_`). Networks and epochs are chosen on validation, clean and perturbed; the test set is read "
             "once for each network and seed. All accuracies are of the exported file, through the engine; mean ± standard "
             "deviation over the seeds. Standard error of one run: about 0.65 points on validation, 0.75 on test.", "",
             "Command: `configs/train_results.sh DATA RUNS SEEDS…`", "", *markdown_table(results), "",
             "int8, µs: one sample, one thread. Minutes: wall time of a run with the threads below, beside other work "
             "on the machine. Perturbed: copies of the validation clips with noise, band limits or an echo (`data/augment.h`).", "",
             *difference_table(table, names),
             "## Runs", "",
             "| network | seed | epochs | validation % | int8 % | perturbed % | test % | test int8 % | minutes | threads |",
             "|---|---|---|---|---|---|---|---|---|---|"]
    for name in names:
        for seed, row in sorted(table[name].items()):
            cells = " | ".join("–" if row[key] is None else f"{row[key]:.2f}" for key in ACCURACIES)
            lines.append(f"| `{name}` | {seed} | {row['epochs']} | {cells} | {row['minutes']:.1f} | {row['threads']} |")
    lines += training_table(table, names)
    lines += [*part("noise", noise_section(arguments[0])), *part("speed", speed), *part("ablation", [])]
    document.write_text("\n".join(lines) + "\n")
    replace_block(ROOT / "README.md", "results", markdown_table(results))
    for name, entry in results.items():
        print(name, json.dumps(entry))


if __name__ == "__main__":
    main()
