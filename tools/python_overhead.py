# SPDX-License-Identifier: Apache-2.0
"""What a call from Python takes: tools/python_overhead.py MODEL. Both figures have their twin in C++:

    bisparse-bench MODEL                one sample
    bisparse-bench MODEL --batch 1000   a batch
"""
import statistics
import sys
import time

import numpy as np

import bisparse


def median_us(call, count):
    times = []
    for _ in range(count):
        begin = time.perf_counter_ns()
        call()
        times.append((time.perf_counter_ns() - begin) / 1e3)
    return statistics.median(times)


engine = bisparse.Engine(sys.argv[1])
sample = np.random.default_rng(1).normal(size=engine.input_shape).astype(np.float32)
batch = np.stack([sample] * 1000)
ns = [engine.profile(sample)[1].sum() for _ in range(2000)]
print(f"one sample: {median_us(lambda: engine(sample), 20000):.2f} us; layers alone {statistics.median(ns) / 1e3:.2f} us, "
      "with clocks between them")
print(f"batch of 1000: {median_us(lambda: engine(batch), 30) / 1e3:.3f} ms")
