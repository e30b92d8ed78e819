#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes docs/results.json, docs/results.md and the README's table from the runs' own files.

  configs/write_results.py RUNS [--bench BENCH.json …]

RUNS holds folders <config>-seed<N> with log/summary.json (bisparse-train), validation.json and test.json
(bisparse-evaluate). The benchmark's files, if any, are bisparse-bench --sweep --json outputs, named bench_<network>.json.
Only the Python standard library is used.
"""
import json
import pathlib
import re
import statistics
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
ORDER = ["gsc_dense", "gsc_sparse_dense", "gsc_paper", "gsc_aligned"]


def read_runs(runs):
    """{config: [{"seed", "validation", "test", "nonzeros", "minutes"}]}, accuracies in per cent."""
    table = {}
    for folder in sorted(pathlib.Path(runs).iterdir()):
        match = re.fullmatch(r"(.+)-seed(\d+)", folder.name)
        files = [folder / "log/summary.json", folder / "validation.json", folder / "test.json"]
        if not match or not all(file.exists() for file in files):
            continue
        summary, validation, test = (json.loads(file.read_text()) for file in files)
        table.setdefault(match[1], []).append({
            "seed": int(match[2]),
            "validation": 100 * validation["accuracy"],
            "test": 100 * test["accuracy"],
            "nonzeros": summary["nonzeros"],
            "minutes": summary["minutes"],
            "threads": summary["threads"],
            "epochs": summary["epochs"],
        })
    return table


def summarise(rows):
    entry = {}
    for key in ("validation", "test"):
        values = [row[key] for row in rows]
        entry[key] = round(statistics.mean(values), 2)
        entry[key + "_sd"] = round(statistics.stdev(values), 2) if len(values) > 1 else None
    entry["nonzeros"] = rows[0]["nonzeros"]
    entry["seeds"] = len(rows)
    entry["minutes"] = round(statistics.mean(row["minutes"] for row in rows), 1)
    return entry


def spread(entry, key):
    sd = entry[key + "_sd"]
    return f"{entry[key]:.1f}" + (f" ± {sd:.1f}" if sd is not None else "")


def markdown_table(results, latency):
    lines = ["| network | non-zero weights | validation % | test % | seeds | minutes a run | latency, µs |",
             "|---|---|---|---|---|---|---|"]
    for name, entry in results.items():
        lines.append(f"| `{name}` | {entry['nonzeros']:,} | {spread(entry, 'validation')} | {spread(entry, 'test')} | "
                     f"{entry['seeds']} | {entry['minutes']:.1f} | {latency.get(name, '–')} |")
    return lines


def replace_between(path, begin, end, lines):
    text = path.read_text()
    pattern = re.compile(re.escape(begin) + r".*?" + re.escape(end), re.S)
    if not pattern.search(text):
        sys.exit(f"{path}: no '{begin}' … '{end}'")
    path.write_text(pattern.sub(lambda _: "\n".join([begin, *lines, end]), text))


def bench_section(files):
    """Lines of the speed section, and {network: 'best mode latency'}."""
    lines, latency = [], {}
    for file in files:
        bench = json.loads(pathlib.Path(file).read_text())
        name = pathlib.Path(file).stem.removeprefix("bench_")
        for run in bench.get("runs", [bench]):
            dense = run["modes"]["dense"]["median_us"]
            for mode, timing in run["modes"].items():
                lines.append(f"| `{name}` | {run['threads']} | {run['batch']} | {mode} | {timing['median_us']:.1f} "
                             f"| {timing['p10_us']:.1f}–{timing['p90_us']:.1f} | {timing['samples_per_second']:,.0f} | "
                             f"{dense / timing['median_us']:.1f}× |")
            if run["threads"] == 1 and run["batch"] == 1:
                latency[name] = f"{min(t['median_us'] for t in run['modes'].values()):.1f}"
    if lines:
        machine = bench["runs"][0] if "runs" in bench else bench
        lines = [f"## Speed\n\nMachine: {machine['machine']}, kernels {machine['isa']}. Command for each model: "
                 "`bisparse-bench models/NAME.bisparse --sweep --json FILE`. Times of one call (one batch); speed-up over "
                 "the engine's own dense mode in the same run.\n",
                 "| model | threads | batch | mode | median µs | p10–p90 | samples/s | over dense |",
                 "|---|---|---|---|---|---|---|---|", *lines]
    return lines, latency


def main():
    arguments = sys.argv[1:]
    if not arguments or arguments[0].startswith("-"):
        sys.exit(__doc__)
    bench_files = arguments[2:] if arguments[1:2] == ["--bench"] else []
    table = read_runs(arguments[0])
    if not table:
        sys.exit(f"{arguments[0]}: no finished run (log/summary.json, validation.json, test.json)")
    names = [n for n in ORDER if n in table] + sorted(set(table) - set(ORDER))
    results = {name: summarise(table[name]) for name in names}
    speed, latency = bench_section(bench_files)
    (ROOT / "docs/results.json").write_text(json.dumps(results, indent=2) + "\n")

    lines = ["# Results", "",
             "Written by `configs/write_results.py` from the runs' own files; not edited by hand.", "",
             "Data: the ten-class part of Speech Commands described in the README (`bed cat down go happy left right up`, "
             "`_unknown_`, `_silence_`). Networks and epochs are chosen on validation; the test set is read once for each "
             "network and seed. All accuracies are of the exported file, through the engine. Standard error of one run: "
             "about 0.65 points on validation, 0.75 on test.", "",
             "Command: `configs/train_results.sh DATA RUNS SEEDS…`", "", *markdown_table(results, latency), "",
             "Latency: best mode, one sample, one thread. Minutes: wall time of a run with the threads below, beside other work on the machine.", "",
             "## Runs", "", "| network | seed | epochs | validation % | test % | minutes | threads |", "|---|---|---|---|---|---|---|"]
    for name in names:
        for row in sorted(table[name], key=lambda r: r["seed"]):
            lines.append(f"| `{name}` | {row['seed']} | {row['epochs']} | {row['validation']:.2f} | {row['test']:.2f} | "
                         f"{row['minutes']:.1f} | {row['threads']} |")
    if speed:
        lines += ["", *speed]
    (ROOT / "docs/results.md").write_text("\n".join(lines) + "\n")
    replace_between(ROOT / "README.md", "<!-- results -->", "<!-- /results -->", markdown_table(results, latency))
    for name, entry in results.items():
        print(name, json.dumps(entry))


if __name__ == "__main__":
    main()
