#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the ablation's part of docs/results.md and docs/results.json, and docs/ablation.svg, from the runs' own files.

  tools/write_ablation.py RUNS [BASE]

RUNS holds folders <cell>-seed<N> of tools/ablation.sh, BASE (learned) is the owner rule of the cells that change
something else. Cells without a finished run are left out. The plot needs gnuplot. Only Python's standard library is used.
"""
import json
import re
import subprocess
import sys

from results_table import (ROOT, die, difference_text, folders_by_name, mean_text, merge_runs, paired_difference, put_mean,
                           read_json, replace_block)

OWNERS, RUNS, LANES = ["static", "learned", "rigl"], ["one", "aligned"], [1, 4, 16]
CHANGES = {"no-annealing": "without k annealing", "no-boosting": "without boosting",
           "no-clip-normalisation": "without clip normalisation", "with-teacher": "with a dense teacher"}


def read_cells(runs):
    """{cell: {seed: summary}} of finished runs, here or as docs/runs.json has them; accuracies in per cent."""
    cells = {}
    for name, folders in folders_by_name(runs).items():
        for seed, folder in folders.items():
            summary = read_json(folder / "log/summary.json")
            if name != "teacher" and summary and summary["finished"]:
                perturbed = summary.get("validation_perturbed")
                cells.setdefault(name, {})[seed] = {
                    "validation": 100 * summary["validation_accuracy"],
                    "validation_perturbed": None if perturbed is None else 100 * perturbed,
                    "nonzeros": summary["nonzeros"], "minutes": summary["minutes"], "epochs": summary["epochs"],
                    "name": summary["name"], "keep": summary.get("keep", "best")}
    record = read_json(ROOT / "docs/runs.json") or {}
    known = {name.removeprefix("ablation "): entry["runs"] for name, entry in record.items() if name.startswith("ablation ")}
    for cell in sorted({*cells, *known}):
        rows = cells.get(cell, {})
        network = next(iter((rows or known[cell]).values()))["name"]
        merged = merge_runs(f"ablation {cell}", network, rows)
        # Runs that keep the last epoch have other perturbed copies too: they are not averaged with earlier ones.
        today = {seed: row for seed, row in merged.items() if row.get("keep") == "last"}
        cells[cell] = today or merged
    return {cell: rows for cell, rows in cells.items() if rows}


def summarise(rows):
    entry = {}
    for key in ("validation", "validation_perturbed", "nonzeros", "minutes"):
        put_mean(entry, key, [row[key] for row in rows.values()])
    entry["seeds"] = len(rows)
    return entry


def difference(cells, cell, base, key):
    column = {name: {seed: row[key] for seed, row in cells.get(name, {}).items()} for name in (cell, base)}
    return difference_text(paired_difference(column[cell], column[base]))


def tables(cells, entries, base):
    lines = ["| owners | run | L | non-zero weights | validation % | perturbed % | seeds |", "|---|---|---|---|---|---|---|"]
    for owner in OWNERS:
        for run in RUNS:
            for lane in LANES:
                entry = entries.get(f"{owner}-{run}-L{lane}")
                if entry:
                    lines.append(f"| {owner} | {'one position' if run == 'one' else run} | {lane} | {entry['nonzeros']:,.0f} | "
                                 f"{mean_text(entry, 'validation')} | {mean_text(entry, 'validation_perturbed')} | {entry['seeds']} |")
    reference = f"{base}-aligned-L16"
    changed = [cell for cell in CHANGES if cell in entries]
    if changed:
        lines += ["", f"Against `{reference}`, seed by seed (mean difference and its 95 % interval, in points):", "",
                  "| change | validation % | perturbed % | difference | perturbed | seeds |", "|---|---|---|---|---|---|"]
        for cell in changed:
            entry = entries[cell]
            lines.append(f"| {CHANGES[cell]} | {mean_text(entry, 'validation')} | {mean_text(entry, 'validation_perturbed')} | "
                         f"{difference(cells, cell, reference, 'validation')} | "
                         f"{difference(cells, cell, reference, 'validation_perturbed')} | {entry['seeds']} |")
    return lines


def draw(entries, path):
    """Two panels of points with their standard deviation over the cells."""
    names = [name for name in entries if re.fullmatch(r".+-L\d+", name)] + [name for name in CHANGES if name in entries]
    script = [f"set terminal svg size 900,{200 + 26 * len(names)} noenhanced background rgb 'white'", f"set output '{path}'",
              "set grid x", "set multiplot layout 1,2", f"set yrange [{len(names) - 0.5}:-0.5]", "set xlabel '%'"]
    labels = ", ".join(f"'{name}' {i}" for i, name in enumerate(names))
    for key, title in (("validation", "validation"), ("validation_perturbed", "perturbed validation")):
        rows = [f"{entries[n][key]} {i} {entries[n].get(key + '_sd') or 0}" for i, n in enumerate(names) if key in entries[n]]
        if not rows:
            continue
        script += [f"set ytics ({labels})", f"set title '{title}'", "$cells << EOD", *rows, "EOD",
                   "plot $cells using 1:2:3 with xerrorbars pointtype 7 pointsize 0.5 notitle"]
    try:
        subprocess.run(["gnuplot"], input="\n".join(script) + "\nunset multiplot\n", text=True, check=True)
    except FileNotFoundError:
        die("gnuplot is not installed (hint: cmake/install_packages.sh)")


def main():
    if len(sys.argv) not in (2, 3):
        die(__doc__)
    base = sys.argv[2] if len(sys.argv) == 3 else "learned"
    cells = read_cells(sys.argv[1])
    if not cells:
        die(f"{sys.argv[1]}: no finished run of a cell (log/summary.json)")
    order = [f"{o}-{r}-L{lane}" for o in OWNERS for r in RUNS for lane in LANES] + list(CHANGES)
    names = [name for name in order if name in cells]
    entries = {name: summarise(cells[name]) for name in names}
    epochs = sorted({row["epochs"] for name in names for row in cells[name].values()})
    networks = sorted({row["name"] for name in names for row in cells[name].values()})
    keeps = sorted({row.get("keep", "best") for name in names for row in cells[name].values()})
    rule = {"best": "the best epoch by the mean of clean and perturbed validation (one copy, as before decision 0012)", "last": "the last epoch"}
    draw(entries, ROOT / "docs/ablation.svg")

    path = ROOT / "docs/results.json"
    results = json.loads(path.read_text())
    results["ablation"] = entries
    path.write_text(json.dumps(results, indent=2) + "\n")
    lines = ["## Ablation", "",
             f"`{'`, `'.join(networks)}` with other settings, {' or '.join(map(str, epochs))} epochs a cell, "
             f"{' or '.join(rule[keep] for keep in keeps)}; mean ± standard deviation over the seeds. The test set is not read here. Command: "
             "`tools/ablation.sh DATA RUNS SEEDS…`", "", *tables(cells, entries, base), "", "![The same as a plot](ablation.svg)"]
    replace_block(ROOT / "docs/results.md", "ablation", lines)
    for name, entry in entries.items():
        print(name, json.dumps(entry))


if __name__ == "__main__":
    main()
