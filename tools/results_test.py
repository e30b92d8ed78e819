# SPDX-License-Identifier: Apache-2.0
"""The statistics of the results page: worked by hand, and against simulated runs whose truth is known."""
import json
import pathlib
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import unittest

from results_predictions import Predictions, clip_name, encode, speaker
from results_statistics import ClipSet, apart, binomial_interval, correlation, difference, interval, over_seeds, seeds_apart

TOOLS = pathlib.Path(__file__).resolve().parent
CONFIGS = TOOLS.parent / "configs"
CLASSES = ["go", "up", "_unknown_", "_silence_"]


def clips_of(labels, voices=None):
    names = [f"word/{voice}_nohash_{i}.wav" for i, voice in enumerate(voices)] if voices else [f"clip{i}" for i in range(len(labels))]
    return {"names": names, "labels": labels}


class PredictionsTest(unittest.TestCase):
    def test_clips_and_voices(self):
        self.assertEqual(encode([0, 1, 2], [0, 2, 2]), ".2.")
        self.assertEqual(clip_name("/data/speech/up/0132a06d_nohash_0.flac"), "up/0132a06d_nohash_0.flac")
        self.assertEqual(speaker("up/0132a06d_nohash_0.flac"), "0132a06d")
        self.assertIsNone(speaker("_background_noise_ (a random cut)"))

    def test_what_is_written_is_read(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "predictions.json"
            predictions = Predictions(path)
            test = {"classes": CLASSES, "clips": ["a/go/x_nohash_0.wav", "a/up/x_nohash_1.wav"], "labels": [0, 1], "predictions": [0, 3]}
            predictions.add("net", 1, "test", test)
            predictions.add("net", 1, "perturbed", {"classes": CLASSES, "clips": [], "labels": [0, 1, 0, 1], "predictions": [1, 1, 0, 0]})
            predictions.add("other", "model", "test", test)
            predictions.keep_only({"net": {"1"}})
            predictions.write()
            again = Predictions(path)
            self.assertEqual(again.runs, {"net": {"1": {"test": ".3", "perturbed": "1..0"}}})
            self.assertEqual(again.clips["test"], {"names": ["go/x_nohash_0.wav", "up/x_nohash_1.wav"], "labels": "01"})
            json.loads(path.read_text())
            with self.assertRaises(ValueError):
                again.add("net", 2, "test", {**test, "labels": [1, 1]})


class RatesTest(unittest.TestCase):
    def test_of_the_clips_as_they_are(self):
        # go: 2 of 2, up: 1 of 2, _unknown_: one taken for go, one for silence (rejected), _silence_: right.
        clips = ClipSet(CLASSES, clips_of("0011223"), repetitions=3)
        values = {metric: v[0] for metric, v in clips.rates("..." + "2" + "0" + "3" + ".").items()}
        self.assertAlmostEqual(values["accuracy"], 100 * 4 / 7)
        self.assertAlmostEqual(values["words"], 100 * (1 + 0.5) / 2)
        self.assertAlmostEqual(values["macro"], 100 * (1 + 0.5 + 0 + 1) / 4)
        self.assertAlmostEqual(values["unknown"], 50)

    def test_copies_go_with_their_clip(self):
        clips = ClipSet(CLASSES, clips_of("01"), copies=2, repetitions=200)
        accuracies = clips.rates("1" + "." + "1" + ".")["accuracy"]  # the first clip is wrong in both copies
        self.assertEqual(accuracies[0], 50)
        self.assertEqual({round(a) for a in accuracies[1:]}, {0, 50, 100})

    def test_clips_of_a_voice_are_drawn_together(self):
        labels, voices = "0" * 8, "aaaabbbb"
        together, alone = (ClipSet(CLASSES, clips_of(labels, voices), by_voice=v, repetitions=400) for v in (True, False))
        answers = "1111...."
        self.assertEqual({round(a) for a in together.rates(answers)["accuracy"]}, {0, 50, 100})
        self.assertGreater(statistics.pstdev(together.rates(answers)["accuracy"]), 1.5 * statistics.pstdev(alone.rates(answers)["accuracy"]))

    def test_the_same_answers_differ_by_nothing(self):
        clips = ClipSet(CLASSES, clips_of("0123" * 25), repetitions=50)
        one = {"1": clips.rates("1..." * 25)["accuracy"]}
        self.assertEqual(difference(over_seeds(one, "a"), over_seeds(one, "b")), (0, 0))
        self.assertGreater(interval(over_seeds(one, "a"))[1], 5)

    def test_is_the_same_each_time(self):
        clips = [ClipSet(CLASSES, clips_of("0123" * 5), repetitions=20).rates("1..." * 5) for _ in range(2)]
        self.assertEqual(*clips)


class SeedsTest(unittest.TestCase):
    def test_variance_of_the_mean_over_seeds(self):
        # Clips that never vary: only seeds do. The bootstrap's variance is that of a mean of three runs, s²/3.
        runs = {str(s): [value] * 4001 for s, value in enumerate((90.0, 91.0, 95.0))}
        values = over_seeds(runs, "net")
        self.assertAlmostEqual(values[0], 92)
        self.assertAlmostEqual(statistics.pvariance(values[1:]), statistics.variance((90, 91, 95)) / 3, delta=0.15)

    def test_one_seed_has_no_spread_of_seeds(self):
        self.assertEqual(interval(over_seeds({"1": [90.0] * 101}, "net")), (90, 0))

    def test_rows_without_answers(self):
        self.assertEqual([round(x, 2) for x in binomial_interval([90, 90], 900)], [90, 1.96])
        wide = binomial_interval([89, 91], 900)[1]  # s² = 2 over two runs: 1.96·√(1 + 1)
        self.assertAlmostEqual(wide, 1.96 * 2 ** 0.5, places=3)
        self.assertAlmostEqual(binomial_interval([90, 90], 900, design=1.5)[1], 1.5 * 1.96)
        self.assertEqual(apart((90, 3), (91, 4)), (-1, 5))

    def test_two_networks_apart_by_their_seeds(self):
        self.assertIsNone(seeds_apart([1], [1, 2]))
        # s² = 2 in both, two degrees of freedom: 4.303·√(2·(1/2 + 1/2)).
        difference, half = seeds_apart([10, 12], [20, 22])
        self.assertEqual((difference, round(half, 3)), (-10, round(4.303 * 2 ** 0.5, 3)))

    def test_correlation_needs_three_seeds(self):
        self.assertIsNone(correlation([({1: 1.0, 2: 2.0}, {1: 1.0, 2: 2.0})]))
        down = ({1: 1.0, 2: 2.0, 3: 3.0}, {1: 3.0, 2: 2.0, 3: 1.0, 4: 0.0})
        up = ({1: 11.0, 2: 12.0, 3: 13.0}, {1: 21.0, 2: 22.0, 3: 23.0})
        self.assertEqual([round(x, 9) for x in correlation([down])], [-1, 3])
        self.assertEqual([round(x, 9) for x in correlation([down, up])], [0, 6])  # the networks' levels do not matter

    def test_intervals_cover_the_truth(self):
        # 40 voices of 5 clips; five runs of each of two networks, whose true difference is 5 points.
        # What clips and seeds do together is counted by both draws (Owen 2007), so intervals are too wide, here by up to √2.
        generator, covered, trials, means, halves = random.Random(7), 0, 60, [], []
        for _ in range(trials):
            hard = [min(1.0, max(0.0, generator.gauss(0, 0.1))) for _ in range(40)]
            clips = ClipSet(CLASSES, clips_of("0" * 200, [f"v{i // 5}" for i in range(200)]), repetitions=200)
            lists = []
            for wrong in (0.10, 0.15):
                runs = {}
                for seed in range(5):
                    shift = generator.gauss(0, 0.01)
                    runs[str(seed)] = clips.rates("".join("1" if generator.random() < wrong + shift + hard[i // 5] else "." for i in range(200)))["accuracy"]
                lists.append(over_seeds(runs, f"net {wrong}"))
            mean, half = difference(*lists)
            covered += abs(mean - 5) <= half
            means.append(mean)
            halves.append(half)
        self.assertGreaterEqual(covered, 0.9 * trials)
        self.assertGreater(statistics.fmean(halves), 0.9 * 1.96 * statistics.stdev(means))
        self.assertLess(statistics.fmean(halves), 1.7 * 1.96 * statistics.stdev(means))


class PageTest(unittest.TestCase):
    """tools/write_results.py on made-up runs, in a tree of its own."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root, self.runs = pathlib.Path(folder.name) / "tree", pathlib.Path(folder.name) / "runs"
        for part in ("configs", "docs", "tools"):
            (self.root / part).mkdir(parents=True)
        for source in TOOLS.glob("*.py"):
            shutil.copy(source, self.root / "tools")
        for name in ("gsc_dense.yaml", "gsc_fast.yaml"):
            shutil.copy(CONFIGS / name, self.root / "configs")
        (self.root / "README.md").write_text("<!-- alike -->\n<!-- /alike -->\n")
        us = {"f32": 20.0, "int8": 10.0, "dense_int8": 12.0, "onednn_int8": 25.0, "onnxruntime_int8": 40.0}
        speed = {"machine": "a machine", "networks": {name: us for name in ("gsc_dense", "gsc_fast")}}
        (self.root / "docs/results.json").write_text(json.dumps({"speed": speed}))
        earlier = {"validation": 90.0, "validation_int8": 90.0, "validation_perturbed": 80.0, "test": 85.0, "test_int8": 85.0,
                   "nonzeros": 10, "minutes": 9.0, "threads": 1, "epochs": 60}
        digest = subprocess.run([sys.executable, "-B", "-c", "import results_table; print(results_table.configuration_digest('gsc_fast'))"],
                                cwd=self.root / "tools", capture_output=True, text=True, check=True).stdout.strip()
        (self.root / "docs/runs.json").write_text(json.dumps({"gsc_fast": {"configuration": digest, "runs": {"7": earlier}}}))
        self.make_run("gsc_dense", 1, None, wrong=1, load=1.0, minutes=5.0)
        self.make_run("gsc_dense", 2, None, wrong=2, load=9.0, minutes=50.0)
        self.make_run("gsc_fast", 1, "gsc_dense-seed1", wrong=2, load=9.0, minutes=4.0)

    def make_run(self, name, seed, teacher, wrong, load, minutes):
        run = self.runs / f"{name}-seed{seed}"
        (run / "log").mkdir(parents=True)
        (run / "best.pt").write_text(f"weights of {name} {seed}")
        (run / "config.yaml").write_text("train:\n  learning_rate: 0.5\n" + (f"  teacher: [{self.runs / teacher}]\n" if teacher else '  teacher: ""\n'))
        (run / "log/summary.json").write_text(json.dumps({"finished": True, "nonzeros": 1000, "minutes": minutes, "threads": 1, "epochs": 60,
                                                          "clips_per_second": 10.0, "code": "0.1.0+abc", "machine_load": load}))
        for file, copies in (("validation", 1), ("validation_int8", 1), ("perturbed", 5), ("test_f32", 1), ("test_int8", 1)):
            labels = [0, 1, 2, 3, 2] * 8 * copies
            answers = [0, 0, 2, 3, 1 if wrong == 2 else 2] * 8 * copies  # `up` for `go`, an unknown word for `up`
            clips = [f"/data/word{i}/v{i}_nohash_0.wav" for i in range(40)] * copies
            evaluation = {"accuracy": sum(a == b for a, b in zip(labels, answers)) / len(labels)}
            if name == "gsc_dense" and file == "test_int8":  # the other network's file is of an earlier program
                evaluation["open_set"] = {"at_90_found": {"threshold": 0.5, "unknown_accepted": 0.1 * wrong, **({"folder_accepted": 0.25} if seed == 1 else {})}}
            (run / f"{file}.json").write_text(json.dumps(evaluation))
            (run / f"{file}_clips.json").write_text(json.dumps({"classes": CLASSES, "clips": clips, "labels": labels, "predictions": answers}))

    def write(self):
        done = subprocess.run([sys.executable, "-B", self.root / "tools/write_results.py", self.runs], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        return (self.root / "docs/results.md").read_text()

    def row(self, page, section, start):
        """Cells of a table's row."""
        part = page.split(f"## {section}\n")[1].split("\n## ")[0]
        return [cell.strip() for cell in next(line for line in part.splitlines() if line.startswith(start)).strip("|").split("|")]

    def test_of_these_runs(self):
        page = self.write()
        dense, fast = (self.row(page, "Accuracy", f"| `{name}`") for name in ("gsc_dense", "gsc_fast"))
        self.assertRegex(dense[5], r"^70\.0 ± ")  # 4 of 5 and 3 of 5
        self.assertRegex(fast[5], r"^60\.0 ± ")
        self.assertEqual((dense[7], fast[7], fast[8]), ("2", "1", "10.0"))
        felt = self.row(page, "What a user feels", "| `gsc_dense`")
        self.assertRegex(felt[1], r"^50\.0 ± ")
        self.assertRegex(felt[2], r"^75\.0 ± ")
        self.assertEqual(felt[4:6], ["15.0 ± 7.1", "25.0"])
        self.assertIn("up → go 100", felt[6])
        self.assertEqual(self.row(page, "What a user feels", "| `gsc_fast`")[4:6], ["–", "–"])
        self.assertRegex(self.row(page, "Differences", "| `gsc_fast`")[3], r"^-10\.00 ± ")
        recipe = self.row(page, "Recipes", "| `gsc_fast`")
        self.assertEqual(recipe[1:6], ["`gsc_dense`, same seed", "0.5", "60", "last", "4.0 ᵇ"])
        self.assertEqual(self.row(page, "Recipes", "| `gsc_dense`")[5], "5.0")  # of the run that had the machine to itself
        earlier = self.row(page, "Runs", "| `gsc_fast` | 7")
        self.assertEqual((earlier[5], earlier[-1]), ("–", "earlier, not in the tables above, rounded"))
        self.assertRegex(self.row(page, "Like with like", "| `gsc_fast`")[6], r"^1\.0×$")
        self.assertIn("| `gsc_fast` | 60.0 ± ", (self.root / "README.md").read_text())
        self.assertEqual(page, self.write())
        # The figures stay when the runs are gone.
        shutil.rmtree(self.runs)
        self.runs.mkdir()
        self.assertEqual(self.row(self.write(), "Accuracy", "| `gsc_dense`"), dense)

    def test_a_teacher_that_was_trained_again_is_another(self):
        self.write()
        shutil.rmtree(self.runs / "gsc_fast-seed1")
        (self.runs / "gsc_dense-seed1/best.pt").write_text("other weights")
        self.assertEqual(self.row(self.write(), "Accuracy", "| `gsc_fast`")[7], "1°")  # the earlier one is left


if __name__ == "__main__":
    unittest.main()
