# SPDX-License-Identifier: Apache-2.0
"""Intervals of accuracies and of their differences, by a bootstrap over clips and seeds.

A figure of a network is a mean over its runs (seeds) and a rate over clips. Each repetition draws
  voices   (with all their clips) with replacement: the same for all networks, since they answer the same clips;
  seeds    of each network with replacement, independently of other networks.
Of S seeds S − 1 are drawn: the variance of a mean of S − 1 draws is that of the mean of S runs (Rao, Wu 1988); with one seed
an interval is of the clips alone, and is marked. What a clip and a seed do together is in both draws, so intervals are
too wide, by √2 at most (Owen 2007, "The pigeonhole bootstrap"). Networks are
not paired by seed, which buys nothing (docs/decisions/0012-choosing-and-intervals.md). Only the standard library; seeded, so the same runs give the same intervals.
"""
import math
import random
import statistics

from results_predictions import CLASSES, speaker
from results_table import t_quantile

REPETITIONS, SEED = 1000, 1
SPECIAL = ("_unknown_", "_silence_")


class ClipSet:
    """Clips of a split with their classes and voices, and the repetitions' draws of them."""

    def __init__(self, classes, clips, copies=1, by_voice=True, repetitions=REPETITIONS):
        self.classes = classes
        self.labels = [CLASSES.index(c) for c in clips["labels"]]
        self.copies = copies
        voices = {}
        self.voice = [voices.setdefault((speaker(name) if by_voice else None) or f"clip {i}", len(voices))
                      for i, name in enumerate(clips["names"])]
        generator = random.Random(SEED)
        everything = range(len(voices))
        self.of_class = [[i for i, label in enumerate(self.labels) if label == c] for c in range(len(classes))]
        self.draws = [[1] * len(self.labels)]  # the clips as they are
        for _ in range(repetitions):
            times = [0] * len(voices)
            for voice in generator.choices(everything, k=len(voices)):
                times[voice] += 1
            self.draws.append([times[voice] for voice in self.voice])
        self.totals = [[copies * sum(map(draw.__getitem__, members)) for members in self.of_class] for draw in self.draws]

    def rates(self, answers):
        """{metric: [value with the clips as they are, value in each repetition …]} of one run; per cent."""
        wrong = [[] for _ in self.classes]
        taken = []  # of _unknown_, for a word
        clips = len(self.labels)
        for i, answer in enumerate(answers):
            if answer == ".":
                continue
            clip = i % clips
            wrong[self.labels[clip]].append(clip)
            if self.classes[self.labels[clip]] == "_unknown_" and self.classes[CLASSES.index(answer)] not in SPECIAL:
                taken.append(clip)
        words = [c for c, name in enumerate(self.classes) if name not in SPECIAL]
        unknown = self.classes.index("_unknown_") if "_unknown_" in self.classes else None
        values = {"accuracy": [], "macro": [], "words": [], "unknown": []}
        for draw, totals in zip(self.draws, self.totals):
            missed = [sum(map(draw.__getitem__, of_class)) for of_class in wrong]
            recall = [1 - m / t if t else None for m, t in zip(missed, totals)]
            values["accuracy"].append(100 * (1 - sum(missed) / sum(totals)))
            values["macro"].append(100 * statistics.fmean(r for r in recall if r is not None))
            values["words"].append(100 * statistics.fmean(recall[c] for c in words if recall[c] is not None))
            if unknown is not None and totals[unknown]:
                values["unknown"].append(100 * (1 - sum(map(draw.__getitem__, taken)) / totals[unknown]))
        return values


def over_seeds(runs, name):
    """The runs' lists of values → the network's: their mean; then in each repetition that over the clips drawn, moved by what
    seeds drawn anew change on the clips as they are."""
    seeds = sorted(runs)
    generator = random.Random(f"{SEED} {name}")
    mean = statistics.fmean(runs[seed][0] for seed in seeds)
    values = [mean]
    for repetition in range(1, len(runs[seeds[0]])):
        drawn = generator.choices(seeds, k=max(1, len(seeds) - 1))
        moved = statistics.fmean(runs[seed][0] for seed in drawn) - mean
        values.append(statistics.fmean(runs[seed][repetition] for seed in seeds) + moved)
    return values


def interval(values):
    """(value, half the width of its 95 % interval) of a list: the value itself, then its repetitions."""
    repetitions = sorted(values[1:])
    low, high = (repetitions[round(q * (len(repetitions) - 1))] for q in (0.025, 0.975))
    return values[0], (high - low) / 2


def difference(ours, theirs):
    """Of two networks' lists; the clips drawn are the same in both."""
    return interval([a - b for a, b in zip(ours, theirs, strict=True)])


def binomial_error(accuracy, clips):
    """Standard error of an accuracy (per cent) on independent clips."""
    return math.sqrt(accuracy * (100 - accuracy) / clips)


def binomial_interval(values, clips, design=1.0):
    """The same of runs whose answers were not kept; per cent: spread over seeds and binomial error of the clips. `design` is the
    standard error over voices ÷ that of independent clips, measured where answers are kept."""
    p = statistics.fmean(values) / 100
    variance = (design * binomial_error(100 * p, clips)) ** 2
    if len(values) > 1:
        variance += statistics.variance(values) / len(values)
    return 100 * p, 1.96 * math.sqrt(variance)


def apart(a, b):
    """Difference of two (value, half width) as if they were independent, which is too wide for answers to the same clips."""
    return a[0] - b[0], math.hypot(a[1], b[1])


def seeds_apart(ours, theirs):
    """(difference, half the width of its 95 % interval) of two lists, one value a seed, by Student's t with pooled variance."""
    freedom = len(ours) + len(theirs) - 2
    if min(len(ours), len(theirs)) < 2:
        return None
    pooled = ((len(ours) - 1) * statistics.variance(ours) + (len(theirs) - 1) * statistics.variance(theirs)) / freedom
    half = t_quantile(freedom) * math.sqrt(pooled * (1 / len(ours) + 1 / len(theirs)))
    return statistics.fmean(ours) - statistics.fmean(theirs), half


def correlation(pairs):
    """Of networks' figures with the yardstick's at the same seed, together: each pair is two {seed: value}, and means are each
    network's own. (coefficient, seeds) or None where no pair has three common seeds."""
    products = ours_squares = theirs_squares = count = 0
    for ours, theirs in pairs:
        seeds = sorted(set(ours) & set(theirs))
        if len(seeds) < 3:
            continue
        a, b = (statistics.fmean(x[s] for s in seeds) for x in (ours, theirs))
        products += sum((ours[s] - a) * (theirs[s] - b) for s in seeds)
        ours_squares += sum((ours[s] - a) ** 2 for s in seeds)
        theirs_squares += sum((theirs[s] - b) ** 2 for s in seeds)
        count += len(seeds)
    return (products / math.sqrt(ours_squares * theirs_squares), count) if ours_squares * theirs_squares > 0 else None
