// SPDX-License-Identifier: Apache-2.0
// A spotter as its users judge it: words found and missed, false alarms an hour (FA/h), latency, on streams with labels.
//
//   An event finds a label if it is of the label's word, and is told (Event::end) from the label's begin on and no later than
//   tolerance_ms after its end. Events in their order, each takes the first label that it fits and that none has taken. An event
//   that finds no label is a false alarm: so is the second one for a word that was said once. A label that no event finds is a miss.
//   Latency = Event::end − the label's end; negative where a word is told before it is over.
//
// The network runs once over each stream. The logits of its windows are kept; a Detector of the engine's own then hears
// them again for each threshold. So the curve is what bisparse-listen would do. Tested in:
// tests/programs/streams_test.cc.
#ifndef BISPARSE_APPS_SUPPORT_STREAM_EVALUATION_H_
#define BISPARSE_APPS_SUPPORT_STREAM_EVALUATION_H_

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "bisparse/detector.h"
#include "bisparse/engine.h"
#include "bisparse/stream.h"
#include "data/compose/labels.h"

namespace bisparse::apps {

/// What a network said of a recording.
struct HeardStream {
  std::string path;
  std::vector<data::Label> labels;  ///< of the file beside it
  int64_t samples = 0;              ///< at the engine's rate, without the silence after it
  std::vector<float> logits_wc;
  std::vector<double> rms_w;
};

/// Reads a recording and its labels and runs the network on all windows, those of a second of silence at the end
/// included. Throws Error (kData) where either can't be read, or a label lies beyond the recording's end.
HeardStream HearStream(const Engine& engine, const StreamOptions& options, const std::string& path);

/// The detector's events in a stream.
std::vector<Event> EventsIn(const Engine& engine, const StreamOptions& options,
                            const DetectionOptions& detection, const HeardStream& stream);

struct StreamScore {
  struct Word {
    std::string name;
    int64_t labels = 0, found = 0, false_alarms = 0;
  };
  /// A false alarm's word, and what was to be heard: another word, "talk", "noise KIND", "silence", or the word
  /// "again".
  struct Confusion {
    std::string word, heard_in;
    int64_t count = 0;
  };
  double hours = 0;
  int64_t labels = 0, found = 0, false_alarms = 0;
  std::vector<Word> words;            ///< of the model, in its order
  std::vector<Confusion> confusions;  ///< commonest first
  std::vector<double> latency_ms;     ///< of the words found, ascending

  /// None where no word was said.
  std::optional<double> misses() const;  ///< fraction
  double fa_per_hour() const;
};
/// What the events of streams mean, one list for each stream.
StreamScore ScoreOf(const std::vector<std::string>& class_names, int32_t sample_rate_hz,
                    int64_t window_samples, double tolerance_ms,
                    std::span<const HeardStream> streams,
                    const std::vector<std::vector<Event>>& events);

struct StreamEvaluationOptions {
  StreamOptions stream;
  DetectionOptions detection;
  double tolerance_ms = 1000;
  double fa_per_hour =
      10;  ///< the most that is allowed, for StreamEvaluation::allowed and for ChooseDetection
};

struct StreamPoint {
  double threshold = 0, misses = 0, fa_per_hour = 0;
};

struct StreamEvaluation {
  StreamScore score;               ///< with the detection that was asked for
  std::vector<StreamPoint> curve;  ///< one threshold for all words, rising
  /// Of the curve's points with at most fa_per_hour the one with the fewest misses.
  std::optional<StreamPoint> allowed;
  std::vector<std::string>
      other_labels;  ///< texts that are no words of the model and do not begin with '_'
};
StreamEvaluation EvaluateStreams(const Engine& engine, const StreamEvaluationOptions& options,
                                 std::span<const HeardStream> streams);

/// A threshold for each word, and with `averages_ms` one of these averages, such that the streams have at most
/// fa_per_hour false alarms and as few misses as can be found. First each word alone, at each threshold of the curve;
/// then the choice of one for each word that finds most within the limit; then one word's after the other is moved,
/// with the real detector. Throws Error (kData) where no word was said, or where the limit is exceeded with every
/// threshold at its highest.
DetectionOptions ChooseDetection(const Engine& engine, const StreamEvaluationOptions& options,
                                 std::span<const double> averages_ms,
                                 std::span<const HeardStream> streams);

std::string FormatStreamEvaluation(const StreamEvaluation& evaluation,
                                   const StreamEvaluationOptions& options);
/// Keys: docs/json.md, "bisparse-evaluate --stream --json", an object of `models`.
nlohmann::ordered_json StreamEvaluationJson(const StreamEvaluation& evaluation,
                                            const StreamEvaluationOptions& options);

}  // namespace bisparse::apps

#endif  // BISPARSE_APPS_SUPPORT_STREAM_EVALUATION_H_
