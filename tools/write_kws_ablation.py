# SPDX-License-Identifier: Apache-2.0
"""Writes the ablation of configs/kws.yaml between its marks in a document, from the runs of tools/kws_ablation.sh.

    python3 tools/write_kws_ablation.py RUNS DOCUMENT
"""
import json
import pathlib
import sys

ROWS = (("kws-before", "`gsc_fast` as it was"),
        ("kws-real", "+ other real words, as many clips as 0.8 of the words', drawn evenly over words"),
        ("kws-spliced", "+ reversed, spliced and trimmed words"),
        ("kws-synthesised", "real words + synthesised ones, none spliced"),
        ("kws-one_vs_all", "real words, `loss: one_vs_all`"),
        ("kws-sparse", "as `kws-spliced`, the network of `kws`, sparse twice"),
        ("kws_dense", "`configs/kws_dense.yaml`: all of it, talk too"),
        ("kws-first", "`configs/kws.yaml`: all of it, talk too"),
        ("kws-even", "`kws-taught`, then 8 epochs with as many clips of `_unknown_` as of a word"),
        ("kws-taught", "`kws`, taught by `kws-first` and `kws_dense`"))
BEGIN, END = "<!-- kws_ablation -->\n", "<!-- /kws_ablation -->"


def table(runs):
    lines = ["| run | what | epochs | validation % | perturbed % | unknown accepted % | held-out words accepted % |",
             "|---|---|---|---|---|---|---|"]
    for run, what in ROWS:
        path = runs / run / "log" / "summary.json"
        if not path.exists():
            continue
        summary = json.loads(path.read_text())
        if not summary["finished"]:
            continue
        figures = " | ".join(f"{100 * summary[key]:.1f}" for key in
                             ("validation_accuracy", "validation_perturbed", "unknown_accepted", "held_out_accepted"))
        lines.append(f"| {run} | {what} | {summary['epochs']} | {figures} |")
    return "\n".join(lines) + "\n"


def main():
    runs, document = map(pathlib.Path, sys.argv[1:])
    text = document.read_text()
    if BEGIN not in text or END not in text:
        sys.exit(f"{document}: no place between {BEGIN.strip()} and {END}")
    head, rest = text.split(BEGIN, 1)
    document.write_text(head + BEGIN + table(runs) + END + rest.split(END, 1)[1])


if __name__ == "__main__":
    main()
