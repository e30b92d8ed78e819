// SPDX-License-Identifier: Apache-2.0
// The Python module bisparse._native over the public C++ interface: arrays become spans, errors become exceptions, and the
// interpreter's lock is released while a network runs. Read first: docs/python.md, python/bisparse/__init__.pyi.
// Tested in: python/tests. Past 400 lines: the two classes and what both convert.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "bisparse/detector.h"
#include "bisparse/engine.h"
#include "bisparse/stream.h"

namespace py = pybind11;

namespace {

using bisparse::Engine;
using bisparse::Error;
using bisparse::ErrorKind;
// As it is where it is float32 in C order, else a copy.
using Floats = py::array_t<float, py::array::c_style | py::array::forcecast>;

std::string ShapeText(const py::array& x) {
  std::string text = "(";
  for (py::ssize_t i = 0; i < x.ndim(); ++i)
    text += (i > 0 ? ", " : "") + std::to_string(x.shape(i));
  return text + (x.ndim() == 1 ? ",)" : ")");
}

[[noreturn]] void FailType(const py::array& x, const char* name, const char* allowed) {
  throw py::type_error(std::string(name) + " has dtype " + py::str(x.dtype()).cast<std::string>() +
                       ", allowed are " + allowed);
}

/// Numbers of any type and layout.
Floats AsFloats(const py::object& given, const char* name) {
  const py::array array = py::array::ensure(given);
  if (!array) {
    PyErr_Clear();
    throw py::type_error(std::string(name) + " is no array, and no array can be made of it");
  }
  const char kind = array.dtype().kind();
  if (kind != 'f' && kind != 'i' && kind != 'u' && kind != 'b') {
    FailType(array, name, "floats, integers and bool");
  }
  Floats floats = Floats::ensure(array);
  if (!floats) throw py::error_already_set();
  return floats;
}

std::span<const float> SpanOf(const Floats& floats) {
  return {floats.data(), static_cast<size_t>(floats.size())};
}

std::span<float> Output(Floats& floats) {
  return {floats.mutable_data(), static_cast<size_t>(floats.size())};
}

/// Number of samples, or -1 for one sample without that dimension.
py::ssize_t BatchOf(const Engine& engine, const Floats& x) {
  const bisparse::Shape shape = engine.input_shape();
  const std::vector<py::ssize_t> full = {shape.height, shape.width, shape.channels};
  const std::vector<py::ssize_t> dims(x.shape(), x.shape() + x.ndim());
  const auto is_sample = [&](std::span<const py::ssize_t> d) {
    if (d.size() == 1) return d[0] == shape.elements();
    if (d.size() == 2) return shape.channels == 1 && d[0] == full[0] && d[1] == full[1];
    return d.size() == 3 && std::equal(d.begin(), d.end(), full.begin());
  };
  if (is_sample(dims)) return -1;
  if (!dims.empty() && is_sample(std::span(dims).subspan(1))) return dims[0];
  const std::string text =
      std::to_string(full[0]) + ", " + std::to_string(full[1]) + ", " + std::to_string(full[2]);
  throw py::value_error("x has shape " + ShapeText(x) + ", allowed are (" + text + "), (" +
                        std::to_string(shape.elements()) +
                        ",) and a batch of them; maps are channels last");
}

Floats Logits(const Engine& engine, py::ssize_t batch) {
  const auto outputs = static_cast<py::ssize_t>(engine.output_count());
  return batch < 0 ? Floats(outputs) : Floats({batch, outputs});
}

Floats Run(const Engine& engine, const py::object& given) {
  const Floats x = AsFloats(given, "x");
  const py::ssize_t batch = BatchOf(engine, x);
  Floats logits = Logits(engine, batch);
  const std::span<const float> features = SpanOf(x);
  const std::span<float> to = Output(logits);
  {
    const py::gil_scoped_release release;
    if (batch < 0) {
      engine.Run(features, to);
    } else {
      engine.RunBatch(features, batch, to);
    }
  }
  return logits;
}

std::pair<Floats, py::array_t<int64_t>> Profile(const Engine& engine, const py::object& given) {
  const Floats x = AsFloats(given, "x");
  if (BatchOf(engine, x) >= 0) throw py::value_error("x is a batch, profile takes one sample");
  Floats logits = Logits(engine, -1);
  std::vector<int64_t> layer_ns(engine.layers().size());
  const std::span<const float> features = SpanOf(x);
  const std::span<float> to = Output(logits);
  {
    const py::gil_scoped_release release;
    engine.RunProfiled(features, to, layer_ns);
  }
  return {logits, py::array_t<int64_t>(static_cast<py::ssize_t>(layer_ns.size()), layer_ns.data())};
}

/// Mono sound: floats in [-1, 1], or int16.
struct Sound {
  explicit Sound(const py::object& given) {
    const py::array array = py::array::ensure(given);
    if (!array) {
      PyErr_Clear();
      throw py::type_error("samples is no array, and no array can be made of it");
    }
    if (array.ndim() != 1) {
      throw py::value_error("samples has shape " + ShapeText(array) + ", allowed is (n,): mono");
    }
    const char kind = array.dtype().kind();
    if (kind == 'i' && array.itemsize() == 2) {
      ints = py::array_t<int16_t, py::array::c_style | py::array::forcecast>::ensure(array);
      is_ints = true;
    } else if (kind == 'f') {
      floats = Floats::ensure(array);
    } else {
      FailType(array, "samples", "int16, and floats in [-1, 1]");
    }
  }
  std::span<const int16_t> int_span() const {
    return {ints.data(), static_cast<size_t>(ints.size())};
  }

  bool is_ints = false;
  Floats floats;
  py::array_t<int16_t, py::array::c_style | py::array::forcecast> ints;
};

/// For what the engine takes as floats alone.
std::vector<float> FloatsOf(std::span<const int16_t> ints) {
  std::vector<float> floats;
  floats.reserve(ints.size());
  for (const int16_t sample : ints) floats.push_back(static_cast<float>(sample) / 32768.0f);
  return floats;
}

template <class Use>
void WithSamples(const Sound& sound, const Use& use) {
  const std::span<const int16_t> ints =
      sound.is_ints ? sound.int_span() : std::span<const int16_t>();
  const std::span<const float> floats =
      sound.is_ints ? std::span<const float>() : SpanOf(sound.floats);
  const py::gil_scoped_release release;
  if (sound.is_ints) {
    const std::vector<float> converted = FloatsOf(ints);
    use(std::span<const float>(converted));
  } else {
    use(floats);
  }
}

Floats RunPcm(const Engine& engine, const py::object& samples) {
  const Sound sound(samples);
  Floats logits = Logits(engine, -1);
  const std::span<float> to = Output(logits);
  WithSamples(sound, [&](std::span<const float> each) { engine.RunPcm(each, to); });
  return logits;
}

Floats Features(const Engine& engine, const py::object& samples) {
  const Sound sound(samples);
  const bisparse::Shape shape = engine.input_shape();
  Floats features(
      {py::ssize_t{shape.height}, py::ssize_t{shape.width}, py::ssize_t{shape.channels}});
  const std::span<float> to = Output(features);
  WithSamples(sound, [&](std::span<const float> each) { engine.ComputeFeatures(each, to); });
  return features;
}

std::shared_ptr<Engine> Load(const py::object& model, int threads, const std::string& mode,
                             const std::map<std::string, std::string>& choices,
                             double parallel_us) {
  bisparse::EngineOptions options = {
      .threads = threads, .mode = bisparse::ParseMode(mode), .parallel_us = parallel_us};
  for (const auto& [layer, way] : choices) {
    options.choices.push_back({.layer = layer, .mode = bisparse::ParseMode(way)});
  }
  if (PyObject_CheckBuffer(model.ptr()) != 0) {
    const py::buffer_info info = py::reinterpret_borrow<py::buffer>(model).request();
    py::ssize_t stride = info.itemsize;
    for (py::ssize_t i = info.ndim - 1; i >= 0; stride *= info.shape[static_cast<size_t>(i--)]) {
      if (info.strides[static_cast<size_t>(i)] != stride) {
        throw py::value_error("the model's bytes do not lie side by side");
      }
    }
    const std::span<const std::byte> bytes(static_cast<const std::byte*>(info.ptr),
                                           static_cast<size_t>(info.size * info.itemsize));
    const py::gil_scoped_release release;
    return std::make_shared<Engine>(Engine::Load(bytes, options));
  }
  // As os.fsencode: names of files may be no UTF-8.
  const py::object fs_path = py::module_::import("os").attr("fsencode")(model);
  const std::string path = fs_path.cast<std::string>();
  const py::gil_scoped_release release;
  return std::make_shared<Engine>(Engine::Load(path, options));
}

py::tuple ShapeTuple(const bisparse::Shape& shape) {
  return py::make_tuple(shape.height, shape.width, shape.channels);
}

struct HeardEvent {
  std::string word;
  size_t class_index;
  int64_t begin, end;
  double score;
};

struct Window {
  int64_t begin, end;
  std::vector<float> logits;
  double rms;
};

/// A stream, its detector, and what they gave that nobody has asked for yet. Python's threads may meet here, since the lock
/// is released: one after another.
class PythonStream {
 public:
  PythonStream(std::shared_ptr<Engine> engine, int32_t hop_frames, bool detect, bool keep_windows,
               const bisparse::DetectionOptions& detection)
      : engine_(std::move(engine)),
        stream_(engine_->NewStream({.hop_frames = hop_frames})),
        keep_windows_(keep_windows) {
    if (detect)
      detector_.emplace(*engine_, bisparse::StreamOptions{.hop_frames = hop_frames}, detection);
  }

  void Push(const py::object& samples) {
    const Sound sound(samples);
    const auto deliver = [&](const bisparse::StreamWindow& window) {
      if (detector_) {
        if (const auto event = detector_->Push(window)) {
          events_.push_back({engine_->class_names()[event->word], event->word, event->begin,
                             event->end, event->score});
        }
      }
      if (keep_windows_) {
        windows_.push_back(
            {window.begin, window.end, {window.logits.begin(), window.logits.end()}, window.rms});
      }
    };
    const std::span<const int16_t> ints =
        sound.is_ints ? sound.int_span() : std::span<const int16_t>();
    const std::span<const float> floats =
        sound.is_ints ? std::span<const float>() : SpanOf(sound.floats);
    const py::gil_scoped_release release;
    const std::lock_guard lock(mutex_);
    if (sound.is_ints) {
      stream_.Push(ints, deliver);
    } else {
      stream_.Push(floats, deliver);
    }
  }

  HeardEvent Next() {
    std::optional<HeardEvent> event;
    Locked([&] {
      if (events_.empty()) return;
      event = std::move(events_.front());
      events_.pop_front();
    });
    if (!event) throw py::stop_iteration();
    return *event;
  }

  py::list TakeWindows() {
    std::vector<Window> windows;
    Locked([&] { windows.swap(windows_); });
    py::list list;
    for (const Window& each : windows) {
      list.append(py::make_tuple(
          each.begin, each.end,
          Floats(static_cast<py::ssize_t>(each.logits.size()), each.logits.data()), each.rms));
    }
    return list;
  }

  void Reset() {
    Locked([&] {
      stream_.Reset();
      if (detector_) detector_->Reset();
      events_.clear();
      windows_.clear();
    });
  }

  double RealTimeFactor() {
    double factor = 0;
    Locked([&] { factor = stream_.stats().real_time_factor(); });
    return factor;
  }

 private:
  /// Who waits for the mutex must not hold the interpreter's lock.
  template <class Use>
  void Locked(const Use& use) {
    const py::gil_scoped_release release;
    const std::lock_guard lock(mutex_);
    use();
  }

  std::shared_ptr<Engine> engine_;
  bisparse::Stream stream_;
  std::optional<bisparse::Detector> detector_;
  const bool keep_windows_;
  std::mutex mutex_;
  std::deque<HeardEvent> events_;
  std::vector<Window> windows_;
};

std::unique_ptr<PythonStream> NewStream(
    std::shared_ptr<Engine> engine, int32_t hop_frames, bool detect, bool keep_windows,
    std::optional<double> threshold, const std::optional<std::map<std::string, double>>& words,
    std::optional<double> average_ms, std::optional<double> least_ms,
    std::optional<double> refractory_ms, std::optional<double> gate_db) {
  bisparse::DetectionOptions detection = engine->detection();
  if (threshold) {
    detection.threshold = *threshold;
    detection.words.clear();
  }
  if (words) {
    detection.words.clear();
    for (const auto& [word, each] : *words) detection.words.push_back({word, each});
  }
  detection.average_ms = average_ms.value_or(detection.average_ms);
  detection.least_ms = least_ms.value_or(detection.least_ms);
  detection.refractory_ms = refractory_ms.value_or(detection.refractory_ms);
  detection.gate_db = gate_db.value_or(detection.gate_db);
  return std::make_unique<PythonStream>(std::move(engine), hop_frames, detect, keep_windows,
                                        detection);
}

PyObject* MakeException(const char* name, const char* doc, PyObject* first, PyObject* second) {
  const py::tuple bases = py::make_tuple(py::handle(first), py::handle(second));
  return PyErr_NewExceptionWithDoc(name, doc, bases.ptr(), nullptr);
}

}  // namespace

PYBIND11_MODULE(_native, m) {
  m.doc() = "bisparse's engine";
  m.attr("__version__") = std::to_string(BISPARSE_VERSION_MAJOR) + "." +
                          std::to_string(BISPARSE_VERSION_MINOR) + "." +
                          std::to_string(BISPARSE_VERSION_PATCH);
  static PyObject* const error = PyErr_NewExceptionWithDoc(
      "bisparse.Error", "What bisparse refuses, with its message.", PyExc_Exception, nullptr);
  static PyObject* const configuration = MakeException(
      "bisparse.ConfigurationError", "A configuration or an argument.", error, PyExc_ValueError);
  static PyObject* const data = MakeException(
      "bisparse.DataError", "A file, or numbers that are none.", error, PyExc_ValueError);
  m.attr("Error") = py::handle(error);
  m.attr("ConfigurationError") = py::handle(configuration);
  m.attr("DataError") = py::handle(data);
  py::register_exception_translator([](std::exception_ptr thrown) {
    try {
      if (thrown) std::rethrow_exception(thrown);
    } catch (const Error& each) {
      PyObject* const type = each.kind() == ErrorKind::kConfiguration ? configuration
                             : each.kind() == ErrorKind::kData        ? data
                                                                      : error;
      PyErr_SetString(type, each.what());
    }
  });

  py::class_<bisparse::LayerSummary>(m, "Layer",
                                     "One layer of the plan; counts and times are of one sample.")
      .def_readonly("name", &bisparse::LayerSummary::name)
      .def_readonly("kind", &bisparse::LayerSummary::kind)
      .def_readonly("kernel", &bisparse::LayerSummary::kernel)
      .def_readonly("reason", &bisparse::LayerSummary::reason)
      .def_property_readonly(
          "input", [](const bisparse::LayerSummary& layer) { return ShapeTuple(layer.input); })
      .def_property_readonly(
          "output", [](const bisparse::LayerSummary& layer) { return ShapeTuple(layer.output); })
      .def_readonly("macs_dense", &bisparse::LayerSummary::macs_dense)
      .def_readonly("macs_executed", &bisparse::LayerSummary::macs_executed)
      .def_readonly("nonzeros", &bisparse::LayerSummary::nonzeros)
      .def_readonly("weights_dense", &bisparse::LayerSummary::weights_dense)
      .def_readonly("weight_bytes", &bisparse::LayerSummary::weight_bytes)
      .def_readonly("active_inputs", &bisparse::LayerSummary::active_inputs)
      .def_readonly("set_size", &bisparse::LayerSummary::set_size)
      .def_readonly("lanes", &bisparse::LayerSummary::lanes)
      .def_readonly("parallel", &bisparse::LayerSummary::parallel)
      .def_readonly("expected_us", &bisparse::LayerSummary::expected_us)
      .def_readonly("dense_us", &bisparse::LayerSummary::dense_us)
      .def("__repr__", [](const bisparse::LayerSummary& layer) {
        return "<bisparse.Layer " + layer.name + ": " + layer.kernel + ">";
      });

  py::class_<HeardEvent>(m, "Event", "A word was heard in samples begin to end.")
      .def_readonly("word", &HeardEvent::word)
      .def_readonly("class_index", &HeardEvent::class_index)
      .def_readonly("begin", &HeardEvent::begin)
      .def_readonly("end", &HeardEvent::end)
      .def_readonly("score", &HeardEvent::score)
      .def("__repr__", [](const HeardEvent& event) {
        return "<bisparse.Event " + event.word + " " + std::to_string(event.begin) + "-" +
               std::to_string(event.end) + ">";
      });

  py::class_<Engine, std::shared_ptr<Engine>>(m, "Engine", R"(A packed network, ready to run.

Engine(model, *, threads=1, mode="auto", choices={}, parallel_us=50.0)

model: a path, or the bytes of a model file. Raises ConfigurationError and DataError.
Any number of threads may use one engine; the interpreter's lock is released while it computes.)")
      .def(py::init(&Load), py::arg("model"), py::kw_only(), py::arg("threads") = 1,
           py::arg("mode") = "auto", py::arg("choices") = std::map<std::string, std::string>(),
           py::arg("parallel_us") = 50.0)
      .def("__call__", &Run, py::arg("x"), R"(Logits of one sample or of a batch.

x: (height, width, channels), (height·width·channels,), (height, width) where there is one channel,
or a batch of such: one more dimension in front. Numbers of any type and layout; they are copied
unless they are float32 in C order.
Returns float32: (classes,), or (batch, classes).
Raises ValueError (shape), TypeError (dtype), DataError (NaN, infinite).)")
      .def("pcm", &RunPcm, py::arg("samples"),
           R"(Logits of a clip: (n,) int16, or floats in [-1, 1], mono at sample_rate_hz.

Returns float32 (classes,).)")
      .def("features", &Features, py::arg("samples"),
           "What the front end makes of a clip: float32 (height, width, channels).")
      .def("profile", &Profile, py::arg("x"),
           "One sample: its logits, and int64 nanoseconds of each of `layers`.")
      .def_property_readonly("input_shape",
                             [](const Engine& e) { return ShapeTuple(e.input_shape()); })
      .def_property_readonly("output_count", &Engine::output_count)
      .def_property_readonly("class_names", &Engine::class_names)
      .def_property_readonly("sample_rate_hz", &Engine::sample_rate_hz)
      .def_property_readonly("isa", &Engine::isa)
      .def_property_readonly("threads", [](const Engine& e) { return e.options().threads; })
      .def_property_readonly("mode",
                             [](const Engine& e) { return bisparse::ModeName(e.options().mode); })
      .def_property_readonly("workspace_bytes", &Engine::workspace_bytes)
      .def_property_readonly("layers", [](const Engine& e) { return e.layers(); });

  py::class_<PythonStream>(
      m, "Stream",
      R"(Sound without end, in pieces of any length; iterates over the events that wait.

    for event in stream.push(piece): ...

None: what the model file says. threshold replaces that of every word, words those of single words.)")
      .def(py::init(&NewStream), py::arg("engine"), py::kw_only(), py::arg("hop_frames") = 1,
           py::arg("detect") = true, py::arg("keep_windows") = false,
           py::arg("threshold") = py::none(), py::arg("words") = py::none(),
           py::arg("average_ms") = py::none(), py::arg("least_ms") = py::none(),
           py::arg("refractory_ms") = py::none(), py::arg("gate_db") = py::none())
      .def(
          "push",
          [](PythonStream& stream, const py::object& samples) -> PythonStream& {
            stream.Push(samples);
            return stream;
          },
          py::arg("samples"), py::return_value_policy::reference,
          "(n,) int16, or floats in [-1, 1], mono. Returns the stream.")
      .def(
          "__iter__", [](PythonStream& stream) -> PythonStream& { return stream; },
          py::return_value_policy::reference)
      .def("__next__", &PythonStream::Next)
      .def("take_windows", &PythonStream::TakeWindows,
           "With keep_windows: (begin, end, logits, rms) of each window since the last call.")
      .def("reset", &PythonStream::Reset, "As it was made.")
      .def_property_readonly("real_time_factor", &PythonStream::RealTimeFactor);
}
