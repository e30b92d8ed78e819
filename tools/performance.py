#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measures the figures of docs/performance.md and writes its tables.

  tools/performance.py [--seconds 0.5] [--tables-only]

Runs bisparse-bench on models/ and configs/shapes/ beside oneDNN and ONNX Runtime (cmake/install_packages.sh --peers), keeps
what it printed as docs/performance.json (on a CPU without AVX-512 VNNI docs/performance-<kernels>.json), and replaces the
marked tables of that kind of machine. Run it alone on the machine.
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import tempfile

from results_table import replace_block

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/performance.md"
INT8, F32 = "models/gsc_aligned_int8.bisparse", "models/gsc_aligned.bisparse"
ALL = "onednn,onnxruntime"
RUNS = {
    "int8": [INT8, "--peers", ALL],
    "int8_dense": [INT8, "--mode", "dense"],
    "int8_sparse_dense": [INT8, "--mode", "sparse_dense"],
    "int8_batch": [INT8, "--batch", "64", "--peers", ALL],
    "int8_threads": [INT8, "--mode", "sparse_sparse", "--batch", "64", "--threads", "2"],
    "f32": [F32, "--peers", ALL],
    "dense": ["configs/gsc_dense.yaml", "--mode", "dense", "--peers", "onednn"],
}
SHAPES = ["linear_4096", "resnet50_3x3_56_64", "resnet50_3x3_28_128", "resnet50_1x1_14_256", "resnet50_3x3_7_512"]
RUNS |= {shape: [f"configs/shapes/{shape}.yaml", "--format", "int8", "--peers", "onednn"] for shape in SHAPES}


def bench(flags, seconds, path):
    flags = [*flags, "--seconds", str(seconds)]
    subprocess.run([ROOT / "build/release/bin/bisparse-bench", *flags, "--json", path], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return {"command": " ".join(["bisparse-bench", *flags]), **json.loads(path.read_text())}


def measure(seconds):
    result = {}
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "run.json"
        for name, flags in RUNS.items():
            print(name, flush=True)
            result[name] = bench(flags, seconds, path)
        # One thread and two in turn: what the machine does meanwhile meets both.
        one, two = [*RUNS["int8_threads"][:-2]], RUNS["int8_threads"]
        rates = [[bench(flags, seconds, path)["modes"]["sparse_sparse"]["samples_per_second"] for flags in (one, two)] for _ in range(5)]
        result["int8_threads"]["ratios_to_one_thread"] = [round(b / a, 3) for a, b in rates]
    file_of(suffix_of(result)).write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    return result


def suffix_of(result):
    """"" for the kind of machine that the page is about, "-avx2" and the like for others."""
    isa = result["int8"]["isa"]
    return "" if isa == "AVX3_DL" else "-" + isa.lower()


def file_of(suffix):
    return ROOT / f"docs/performance{suffix}.json"


def ratio(run, peer):
    p = run["peers"].get(peer, {})
    if "ratio" not in p:
        return "not timed"
    return f"{p['ratio']:.1f}× ({p['ratio_p10']:.1f}–{p['ratio_p90']:.1f})"


def bars(r):
    two = r["int8_threads"]["ratios_to_one_thread"]
    dense = r["dense"]["modes"]["dense"]["median_us"] / r["dense"]["peers"]["onednn_f32"]["median_us"]
    modes = " → ".join(f"{m['median_us']:.1f}" for m in r["int8"]["modes"].values())
    return [
        "| figure | at least | aim | measured |", "|---|---|---|---|",
        f"| oneDNN dense f32 ÷ ours, batch 1 | 30× | 60× | {ratio(r['int8'], 'onednn_f32')} |",
        f"| ONNX Runtime f32 ÷ ours, batch 1 | 32× | 60× | {ratio(r['int8'], 'onnxruntime_f32')} |",
        f"| ONNX Runtime int8 ÷ ours, batch 1 | 13× | 25× | {ratio(r['int8'], 'onnxruntime_int8')} |",
        f"| oneDNN int8 ÷ ours, batch 1 | 10× | 18× | {ratio(r['int8'], 'onednn_int8')} |",
        f"| ONNX Runtime int8 ÷ ours, batch 64 | 10× | 18× | {ratio(r['int8_batch'], 'onnxruntime_int8')} |",
        f"| our dense f32 ÷ oneDNN dense f32, batch 1 | ≤ 1.5 | 1 | {dense:.2f} |",
        f"| dense → sparse_dense → sparse_sparse, int8, µs | each faster | | {modes} |",
        f"| oneDNN dense f32 ÷ our f32, batch 1 | 15× | 25× | {ratio(r['f32'], 'onednn_f32')} |",
        f"| 2 threads ÷ 1 thread, samples/s, batch 64 | 1.9× | | {statistics.median(two):.2f}× ({min(two):.2f}–{max(two):.2f} of {len(two)}) |",
        f"| linear 4096 × 4096, oneDNN f32 ÷ ours | 100× | | {ratio(r['linear_4096'], 'onednn_f32')} |",
    ]


def layers(r):
    lines = ["| layer | int8 kernel | int8, µs | sparse_dense | dense | f32 kernel | f32, µs |", "|---|---|---|---|---|---|---|"]
    others = zip(r["int8_sparse_dense"]["layers"], r["int8_dense"]["layers"])
    for a, b, (c, d) in zip(r["int8"]["layers"], r["f32"]["layers"], others):
        if {a["kernel"], b["kernel"], c["kernel"], d["kernel"]} == {"none"}:
            continue
        lines.append(f"| {a['name']} | {a['kernel']} | {a['median_us']:.2f} | {c['median_us']:.2f} | {d['median_us']:.2f} | {b['kernel']} | {b['median_us']:.2f} |")
    ours, f32 = r["int8"]["modes"], r["f32"]["modes"]["sparse_sparse"]["median_us"]
    whole = " | ".join(f"{ours[mode]['median_us']:.2f}" for mode in ("sparse_sparse", "sparse_dense", "dense"))
    return lines + [f"| one sample, whole | | {whole} | | {f32:.2f} |"]


def shapes(r):
    lines = ["| shape | ours, µs | of it the layer | kernel | our dense, µs | oneDNN f32 ÷ ours | oneDNN int8 ÷ ours |",
             "|---|---|---|---|---|---|---|"]
    for name in SHAPES:
        run = r[name]
        layer = next(l for l in run["layers"] if l["name"] in ("conv1", "linear1"))
        lines.append(f"| {name} | {run['modes']['sparse_sparse']['median_us']:.1f} | {layer['median_us']:.1f} | {layer['kernel']} "
                     f"| {run['modes']['dense']['median_us']:.1f} | {ratio(run, 'onednn_f32')} | {ratio(run, 'onednn_int8')} |")
    return lines


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=0.5, help="timed work for each mode and peer")
    parser.add_argument("--tables-only", metavar="SUFFIX", nargs="?", const="", help="from docs/performanceSUFFIX.json, without measuring")
    args = parser.parse_args()
    r = measure(args.seconds) if args.tables_only is None else json.loads(file_of(args.tables_only).read_text())
    suffix = suffix_of(r)
    machine = [f"Machine: {r['int8']['machine']}, kernels {r['int8']['isa']}. Command: `tools/performance.py`; the command of "
               f"each figure is in `docs/{file_of(suffix).name}`. In brackets the 10th and 90th percentile of the ratio."]
    replace_block(PAGE, "bars" + suffix, machine + [""] + bars(r))
    replace_block(PAGE, "layers" + suffix, layers(r))
    replace_block(PAGE, "shapes" + suffix, shapes(r))


if __name__ == "__main__":
    main()
