# SPDX-License-Identifier: Apache-2.0
"""Arrays of every kind give the logits of the golden files; what is wrong is an exception with its message."""
import sys
import threading

import numpy as np
import pytest

import bisparse


@pytest.fixture
def engine(golden):
    return bisparse.Engine(golden / "small.bisparse")


def noise(*shape):
    return np.random.default_rng(3).normal(size=shape).astype(np.float32)


def test_what_it_says(engine):
    assert engine.input_shape == (8, 8, 1)
    assert engine.output_count == len(engine.class_names) == 3
    assert engine.sample_rate_hz == 8000
    assert engine.threads == 1 and engine.mode == "auto" and engine.isa
    assert engine.layers[0].kind == "conv2d" and engine.layers[0].output[2] == 8
    assert engine.layers[0].macs_executed <= engine.layers[0].macs_dense
    plan = engine.plan().splitlines()
    assert len(plan) == 1 + len(engine.layers) and engine.layers[0].kernel in plan[1]


def test_any_layout_dtype_and_batch_gives_the_same_bits(golden):
    engine = bisparse.Engine(str(golden / "small.bisparse"), threads=2)
    x = noise(5, 8, 8, 1)
    expected = np.stack([engine(sample) for sample in x])
    assert expected.dtype == np.float32 and expected.shape == (5, 3)
    assert len(np.unique(expected)) > 3
    for same in (x, x.reshape(5, 64), x.reshape(5, 8, 8), np.asfortranarray(x), x.astype(np.float64),
                 x[::-1][::-1], x.astype(">f4"), x.tolist()):
        np.testing.assert_array_equal(engine(same), expected)
    wide = np.zeros((5, 8, 16, 1), np.float32)
    wide[:, :, ::2] = x
    np.testing.assert_array_equal(engine(wide[:, :, ::2]), expected)
    read_only = x.copy()
    read_only.flags.writeable = False
    np.testing.assert_array_equal(engine(read_only), expected)
    whole = np.round(4 * x)
    np.testing.assert_array_equal(engine(whole.astype(np.int8)), engine(whole))
    assert engine(np.zeros((0, 64))).shape == (0, 3)


def test_bytes_and_modes(golden, engine):
    x = noise(64)
    data = (golden / "small.bisparse").read_bytes()
    for model in (data, bytearray(data), memoryview(data), np.frombuffer(data, np.uint8)):
        np.testing.assert_array_equal(bisparse.Engine(model)(x), engine(x))
    with pytest.raises(ValueError, match="side by side"):
        bisparse.Engine(np.frombuffer(data, np.uint8)[::2])
    int8 = golden / "small_int8.bisparse"
    expected = bisparse.Engine(int8)
    y = noise(expected.input_shape[0], expected.input_shape[1], expected.input_shape[2])
    for mode in ("dense", "sparse_dense", "sparse_sparse"):
        np.testing.assert_array_equal(bisparse.Engine(int8, mode=mode)(y), expected(y))


@pytest.mark.parametrize("name", ["small_int8", "small_graph_int8", "small_dilated_int8"])
def test_int8_has_the_bits_of_the_golden_files(golden, name):
    numbers = {}
    for line in (golden / f"{name}.txt").read_text().splitlines():
        word, *count = line.split()
        if count:
            numbers[word] = values = []
        else:
            values.append(np.float32(word))
    assert len(numbers["logits"]) >= 1
    logits = bisparse.Engine(golden / f"{name}.bisparse")(np.array(numbers["features"]))
    np.testing.assert_array_equal(logits, np.array(numbers["logits"]))


def test_errors(golden, engine, tmp_path):
    with pytest.raises(ValueError, match=r"x has shape \(63,\), allowed are \(8, 8, 1\)"):
        engine(np.zeros(63))
    with pytest.raises(ValueError, match=r"x has shape \(\)"):
        engine(1.0)
    with pytest.raises(TypeError, match="dtype"):
        engine(np.array(["a"] * 64))
    with pytest.raises(TypeError, match="dtype complex128"):
        engine(np.zeros(64, complex))
    bad = np.zeros(64)
    bad[7] = np.nan
    with pytest.raises(bisparse.DataError, match=r"features\[7\] is nan"):
        engine(bad)
    with pytest.raises(bisparse.DataError, match="nowhere"):
        bisparse.Engine(tmp_path / "nowhere")
    with pytest.raises(bisparse.DataError):
        bisparse.Engine(b"no model")
    with pytest.raises(bisparse.ConfigurationError, match="fastest"):
        bisparse.Engine(golden / "small.bisparse", mode="fastest")
    assert issubclass(bisparse.DataError, bisparse.Error) and issubclass(bisparse.DataError, ValueError)
    with pytest.raises(TypeError):
        bisparse.Engine(5)
    with pytest.raises(TypeError, match="int16"):
        engine.pcm(np.zeros(100, np.int32))
    with pytest.raises(ValueError, match="mono"):
        engine.pcm(np.zeros((100, 2)))


def test_sound(engine):
    sound = (noise(2000) * 2000).astype(np.int16)
    expected = engine.pcm(sound)
    np.testing.assert_array_equal(engine.pcm(sound / 32768), expected)
    np.testing.assert_array_equal(engine(engine.features(sound)), expected)
    logits, ns = engine.profile(engine.features(sound))
    np.testing.assert_array_equal(logits, expected)
    assert ns.shape == (len(engine.layers),) and ns.sum() > 0


def test_streams(engine):
    sound = (noise(16000) * 3000).astype(np.int16)
    options = dict(threshold=0.4, average_ms=0, refractory_ms=0, keep_windows=True)
    whole = bisparse.Stream(engine, **options)
    events = list(whole.push(sound))
    assert len(events) > 3 and list(whole) == []
    windows = whole.take_windows()
    assert len(windows) == 1 + (16000 - 2048) // 256 and whole.take_windows() == []
    for begin, end, logits, _ in windows[::10]:
        np.testing.assert_array_equal(logits, engine.pcm(sound[begin:end]))
    pieces = bisparse.Stream(engine, **options)
    heard = [event for piece in np.array_split(sound, 37) for event in pieces.push(piece)]
    key = lambda event: (event.word, event.begin, event.end, event.score)
    assert [key(event) for event in heard] == [key(event) for event in events]
    assert events[0].word in engine.class_names and 0.4 <= events[0].score <= 1
    pieces.reset()
    assert len(list(pieces.push(sound / 32768))) == len(events)
    assert list(bisparse.Stream(engine, detect=False).push(sound)) == []
    with pytest.raises(bisparse.ConfigurationError, match="hop_frames = 0"):
        bisparse.Stream(engine, hop_frames=0)
    with pytest.raises(bisparse.DataError, match=r"samples\[1\] is nan"):
        whole.push(np.array([0, np.nan]))
    with pytest.raises(bisparse.ConfigurationError, match="nobody"):
        bisparse.Stream(engine, words={"nobody": 0.5})
    alone = bisparse.Stream(engine)
    del engine  # the stream holds on to it
    alone.push(sound)


def test_threads_share_an_engine_and_a_stream(engine):
    x = noise(64)
    expected = engine(x)
    sound = np.zeros(4000, np.int16)
    stream = bisparse.Stream(engine, keep_windows=True)
    failed = []

    def work():
        for _ in range(50):
            if not np.array_equal(engine(x), expected):
                failed.append(1)
            stream.push(sound)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert not failed
    assert len(stream.take_windows()) == 1 + (4 * 50 * 4000 - 2048) // 256


def test_no_array_is_kept_or_lost(engine):
    x = noise(10, 64)
    before = sys.getrefcount(x)
    for _ in range(100):
        engine(x)
    assert sys.getrefcount(x) == before
