#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How the time of a layer grows with k and with 1/S: writes docs/growth.json and docs/growth.svg.

  tools/growth.py [--seconds 0.2]

Times one int8 layer of random weights (bisparse-bench CONFIG.yaml --format int8, one thread, one sample) against the
number of winners at fixed S, and against 1/S at fixed winners, and fits time = constant + slope · x to each. Needs
gnuplot. Run it alone on the machine.
"""
import argparse
import json
import pathlib
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
BENCH = ROOT / "build/release/bin/bisparse-bench"
HEAD = "name: growth\ndata: {{type: npy, train_x: x.npy, train_y: y.npy, input: {input}, class_names: ['0', '1']}}\nnetwork:\n"


def linear(winners, set_size):
    return HEAD.format(input="[1, 1, 4096]") + f"""
  - kwta: {{winners: {winners}, scope: global}}
  - linear: {{name: layer, units: 4096, packing: {{set_size: {set_size}, lanes: 16}}}}
  - relu
  - linear: {{units: classes}}
"""


def conv(winners, set_size):
    channels = 64 // winners * 4  # of a run: four groups, a quad
    return HEAD.format(input="[14, 14, 64]") + f"""
  - kwta: {{winners: {winners}, groups: {winners}}}
  - conv2d: {{name: layer, channels: 256, kernel: 5, packing: {{set_size: {set_size}, lanes: 16, run: {{channels: {channels}, taps: row}}}}}}
  - relu
  - avg_pool: {{kernel: 0}}
  - flatten
  - linear: {{units: classes}}
"""


SERIES = {
    "linear 4096 → 4096, S = 16, against k": ("k", [(k, linear(k, 16)) for k in (41, 82, 123, 164, 205, 246, 287, 328, 410)]),
    "linear 4096 → 4096, k = 205, against 1/S": ("1/S", [(1 / s, linear(205, s)) for s in (64, 32, 16, 8, 4)]),
    "conv 5×5, 14×14×64 → 256, S = 4, against k of a position": ("k", [(k, conv(k, 4)) for k in (4, 8, 16, 32)]),
    "conv 5×5, 14×14×64 → 256, k = 16, against 1/S": ("1/S", [(1 / s, conv(16, s)) for s in (16, 8, 4, 2)]),
}


def time_of(text, seconds, folder):
    config, result = folder / "growth.yaml", folder / "growth.json"
    config.write_text(text)
    command = [BENCH, config, "--format", "int8", "--mode", "sparse_sparse", "--seconds", str(seconds), "--json", result]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    run = json.loads(result.read_text())
    layer = next(layer for layer in run["layers"] if layer["name"] == "layer")
    return layer["median_us"], layer["kernel"], run["machine"], run["isa"]


def fit(points):
    """Least squares of time = constant + slope · x on relative errors."""
    w = [1 / (t * t) for _, t in points]
    sw, sx = sum(w), sum(wi * x for wi, (x, _) in zip(w, points))
    st = sum(wi * t for wi, (_, t) in zip(w, points))
    sxx = sum(wi * x * x for wi, (x, _) in zip(w, points))
    sxt = sum(wi * x * t for wi, (x, t) in zip(w, points))
    slope = (sw * sxt - sx * st) / (sw * sxx - sx * sx)
    return (st - slope * sx) / sw, slope


def plot(result, path):
    lines = ["set terminal svg size 900,640 font 'sans,11' background '#ffffff'", f"set output '{path}'",
             "set multiplot layout 2,2", "set grid", "set key top left", "set yrange [0:]", "set xrange [0:]"]
    for name, series in result["series"].items():
        lines += [f"set title \"{name}\" noenhanced", f"set xlabel '{series['axis']}'", "set ylabel 'µs'"]
        fitted = f"{series['constant_us']} + {series['slope_us']} * x"
        lines.append(f"plot '-' using 1:2 with points pt 7 lc rgb '#0b5fa5' title 'measured', {fitted} lc rgb '#c44' "
                     f"title '{series['constant_us']:.2f} µs + slope · {series['axis']}'")
        lines += [f"{x} {t}" for x, t in series["points"]] + ["e"]
    subprocess.run(["gnuplot"], input="\n".join(lines), text=True, check=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=0.2, help="timed work for each point")
    args = parser.parse_args()
    result = {"series": {}}
    with tempfile.TemporaryDirectory() as folder:
        for name, (axis, points) in SERIES.items():
            timed = []
            for x, text in points:
                us, kernel, result["machine"], result["isa"] = time_of(text, args.seconds, pathlib.Path(folder))
                timed.append((x, us))
                print(f"{name}: {axis} = {x:g}: {us:.2f} us ({kernel})", flush=True)
            constant, slope = fit(timed)
            result["series"][name] = {"axis": axis, "kernel": kernel, "constant_us": round(constant, 3), "slope_us": round(slope, 5),
                                      "points": [(round(x, 5), round(t, 3)) for x, t in timed]}
    (ROOT / "docs/growth.json").write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n")
    plot(result, ROOT / "docs/growth.svg")


if __name__ == "__main__":
    main()
