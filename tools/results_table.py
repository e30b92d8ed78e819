# SPDX-License-Identifier: Apache-2.0
"""What write_results.py, results_statistics.py and write_ablation.py share: statistics over seeds, and parts of documents."""
import hashlib
import json
import math
import pathlib
import re
import statistics
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent

# 97.5 % quantiles of Student's t for 1, 2, … degrees of freedom.
T_QUANTILES = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
               2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086]


def t_quantile(freedom):
    return T_QUANTILES[min(freedom, len(T_QUANTILES)) - 1]


def folders_by_name(runs):
    """{name: {seed: folder}} of folders NAME-seedN."""
    table = {}
    for folder in sorted(pathlib.Path(runs).iterdir()):
        match = re.fullmatch(r"(.+)-seed(\d+)", folder.name)
        if match:
            table.setdefault(match[1], {})[int(match[2])] = folder
    return table


def read_json(path):
    return json.loads(path.read_text()) if path.exists() else None


def configuration_digest(config):
    """Of configs/<config>.yaml as it is today, without its comments; None where there is no such file."""
    if not (ROOT / f"configs/{config}.yaml").exists():
        return None
    lines = [re.sub(r"(^|\s+)#.*", "", line).rstrip() for line in (ROOT / f"configs/{config}.yaml").read_text().splitlines()]
    return hashlib.sha256("\n".join(line for line in lines if line).encode()).hexdigest()[:16]


def merge_runs(name, config, rows):
    """Puts rows {seed: row} of this machine into docs/runs.json and returns them with those that are there already, from
    other machines and days, and dropped where configs/<config>.yaml has changed since. The rows given are taken to be of
    today's file, and settings from outside it (teacher, epochs) to be always the same: RUNS holds no others."""
    path = ROOT / "docs/runs.json"
    record, digest = read_json(path) or {}, configuration_digest(config)
    old = record.get(name, {})
    kept = {int(seed): row for seed, row in old["runs"].items()} if old.get("configuration") == digest else {}
    merged = dict(sorted({**kept, **rows}.items()))
    if merged:
        record[name] = {"configuration": digest, "runs": merged}
    else:
        record.pop(name, None)
    # One run a line.
    entries = [f"{json.dumps(key)}: {{\n \"configuration\": {json.dumps(entry['configuration'])},\n \"runs\": {{\n"
               + ",\n".join(f"  {json.dumps(str(seed))}: {json.dumps(row)}" for seed, row in entry["runs"].items()) + "\n }\n}"
               for key, entry in sorted(record.items())]
    path.write_text("{\n" + ",\n".join(entries) + "\n}\n")
    return merged


def put_mean(entry, key, values, digits=2):
    """entry[key] = mean, entry[key_sd] = standard deviation (null with one seed); nothing where a value is missing."""
    if not values or any(value is None for value in values):
        return
    entry[key] = round(statistics.mean(values), digits)
    entry[key + "_sd"] = round(statistics.stdev(values), digits) if len(values) > 1 else None


def paired_difference(ours, theirs):
    """Mean of ours − theirs over common seeds and the half width of its 95 % interval (None with one seed)."""
    seeds = sorted(set(ours) & set(theirs))
    differences = [ours[seed] - theirs[seed] for seed in seeds if ours[seed] is not None and theirs[seed] is not None]
    if not differences:
        return None
    if len(differences) == 1:
        return differences[0], None, 1
    half = t_quantile(len(differences) - 1) * statistics.stdev(differences) / math.sqrt(len(differences))
    return statistics.mean(differences), half, len(differences)


def mean_text(entry, key):
    if entry.get(key) is None:
        return "–"
    sd = entry.get(key + "_sd")
    return f"{entry[key]:.1f}" + (f" ± {sd:.1f}" if sd is not None else "")


def difference_text(difference):
    if difference is None:
        return "–"
    mean, half, seeds = difference
    return f"{mean:+.2f}" + (f" ± {half:.2f}" if half is not None else " (one seed)")


def block(name, lines):
    return "\n".join([f"<!-- {name} -->", *lines, f"<!-- /{name} -->"])


def find_block(text, name):
    match = re.search(rf"<!-- {name} -->\n(.*?)<!-- /{name} -->", text, re.S)
    return match[0] if match else None


def replace_block(path, name, lines):
    """Puts `lines` between the marks, or at the end where a document has none."""
    text = path.read_text()
    old = find_block(text, name)
    new = block(name, lines)
    path.write_text(text.replace(old, new) if old else text.rstrip("\n") + "\n\n" + new + "\n")


def die(message):
    sys.exit(message)
