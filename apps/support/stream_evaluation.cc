// SPDX-License-Identifier: Apache-2.0
// Read first: stream_evaluation.h. Past 400 lines: matching, the curve and the choice of thresholds replay one pass.
#include "apps/support/stream_evaluation.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <map>
#include <set>
#include <thread>

#include "apps/support/quantile.h"
#include "data/audio.h"
#include "data/recording.h"
#include "deploy/base/check.h"
#include "deploy/base/cores.h"
#include "deploy/base/show.h"
#include "deploy/base/threads.h"
#include "deploy/engine/engine_access.h"
#include "deploy/packed/detection.h"

namespace bisparse::apps {
namespace {

/// Even steps of log(t / (1 − t)), from 0.12 to 0.9991: probabilities crowd at both ends.
std::vector<double> CurveThresholds() {
  std::vector<double> thresholds;
  for (double logit = -2; logit <= 7; logit += 0.25)
    thresholds.push_back(std::round(1e4 / (1 + std::exp(-logit))) / 1e4);
  return thresholds;
}

DetectionOptions WithThreshold(DetectionOptions detection, double threshold) {
  detection.threshold = threshold;
  detection.words.clear();
  return detection;
}

/// work(i) for i < count, on all cores; the first exception leaves it.
template <typename Work>
void InParallel(size_t count, const Work& work) {
  std::atomic<size_t> next{0};
  std::atomic<bool> failed{false};
  std::exception_ptr failure;
  std::vector<std::jthread> threads;
  StartThreads(threads, std::min<int64_t>(UsableCores(), static_cast<int64_t>(count)), [&] {
    for (size_t i = next++; i < count && !failed; i = next++) {
      try {
        work(i);
      } catch (...) {
        if (!failed.exchange(true)) failure = std::current_exception();
      }
    }
  });
  threads.clear();
  if (failure) std::rethrow_exception(failure);
}

int64_t WindowSamples(const Engine& engine) {
  return EngineAccess::model(engine).front_end->clip_samples;
}

StreamScore ScoreAt(const Engine& engine, const StreamEvaluationOptions& options,
                    const DetectionOptions& detection, std::span<const HeardStream> streams) {
  std::vector<std::vector<Event>> events;
  for (const HeardStream& stream : streams)
    events.push_back(EventsIn(engine, options.stream, detection, stream));
  return ScoreOf(engine.class_names(), engine.sample_rate_hz(), WindowSamples(engine),
                 options.tolerance_ms, streams, events);
}

/// One for each threshold of the curve.
std::vector<StreamScore> ScoresOf(const Engine& engine, const StreamEvaluationOptions& options,
                                  const DetectionOptions& detection,
                                  std::span<const HeardStream> streams) {
  const std::vector<double> thresholds = CurveThresholds();
  std::vector<StreamScore> scores(thresholds.size());
  InParallel(thresholds.size(), [&](size_t i) {
    scores[i] = ScoreAt(engine, options, WithThreshold(detection, thresholds[i]), streams);
  });
  return scores;
}

/// What sounded when a false alarm was told: of the labels in its last window the latest, noise if there is no other.
std::string HeardIn(const std::vector<data::Label>& labels, const std::string& word, double from_s,
                    double to_s) {
  constexpr std::string_view kOther = "_other_ ", kNoise = "_noise_ ", kTalk = "_talk_ ";
  std::string heard = "silence", noise;
  for (const data::Label& label : labels) {
    if (label.begin_s > to_s) break;
    if (label.end_s < from_s) continue;
    const std::string& text = label.text;
    if (text.starts_with(kNoise)) {
      noise = "noise " + text.substr(kNoise.size());
    } else {
      heard = text == word               ? word + " again"
              : text.starts_with(kOther) ? text.substr(kOther.size())
              : text.starts_with(kTalk)  ? "talk"
                                         : text;
    }
  }
  return heard == "silence" && !noise.empty() ? noise : heard;
}

/// A threshold for each word: index into the curve. `found`, `alarms`: [word][threshold]. The choice that finds most
/// with at most `budget` false alarms in all; among those that find as many, the one with the fewest. Exact: best[b] is
/// the most that words so far find with b false alarms.
std::vector<size_t> ChooseThresholds(const std::vector<std::vector<int64_t>>& found,
                                     const std::vector<std::vector<int64_t>>& alarms,
                                     int64_t budget) {
  constexpr int64_t kNone = -1;
  const auto size = static_cast<size_t>(budget + 1);
  std::vector<int64_t> best(size, kNone);
  best[0] = 0;
  std::vector<std::vector<size_t>> choice_wb;
  for (size_t w = 0; w < found.size(); ++w) {
    std::vector<int64_t> next(size, kNone);
    std::vector<size_t> choice(size, 0);
    for (size_t b = 0; b < size; ++b) {
      if (best[b] == kNone) continue;
      for (size_t t = found[w].size(); t-- > 0;) {
        const auto used = b + static_cast<size_t>(alarms[w][t]);
        if (used >= size || best[b] + found[w][t] <= next[used]) continue;
        next[used] = best[b] + found[w][t];
        choice[used] = t;
      }
    }
    best = std::move(next);
    choice_wb.push_back(std::move(choice));
  }
  size_t at = static_cast<size_t>(std::max_element(best.begin(), best.end()) - best.begin());
  if (best[at] == kNone) return {};
  std::vector<size_t> chosen(found.size());
  for (size_t w = found.size(); w-- > 0;) {
    chosen[w] = choice_wb[w][at];
    at -= static_cast<size_t>(alarms[w][chosen[w]]);
  }
  return chosen;
}

struct Choice {
  DetectionOptions detection;
  StreamScore score;
};

/// Words by themselves do not know that they silence each other, so what the detector really does may exceed the limit;
/// then less is allowed, until it does not.
std::optional<Choice> ChooseWith(const Engine& engine, const StreamEvaluationOptions& options,
                                 const DetectionOptions& detection,
                                 std::span<const HeardStream> streams) {
  const std::vector<StreamScore> scores = ScoresOf(engine, options, detection, streams);
  const std::vector<double> thresholds = CurveThresholds();
  const size_t words = scores[0].words.size();
  std::vector<std::vector<int64_t>> found(words), alarms(words);
  for (size_t w = 0; w < words; ++w) {
    for (const StreamScore& score : scores) {
      found[w].push_back(score.words[w].found);
      alarms[w].push_back(score.words[w].false_alarms);
    }
  }
  int64_t most = 0;
  for (const auto& of_word : alarms) most += *std::max_element(of_word.begin(), of_word.end());
  const auto allowed = static_cast<int64_t>(
      std::min(static_cast<double>(most), options.fa_per_hour * scores[0].hours + 1e-9));
  for (int64_t budget = allowed; budget >= 0;) {
    const std::vector<size_t> chosen = ChooseThresholds(found, alarms, budget);
    if (chosen.empty()) return std::nullopt;
    Choice choice{.detection = WithThreshold(detection, detection.threshold), .score = {}};
    for (size_t w = 0; w < words; ++w)
      choice.detection.words.push_back({scores[0].words[w].name, thresholds[chosen[w]]});
    choice.score = ScoreAt(engine, options, choice.detection, streams);
    if (choice.score.false_alarms <= allowed) return choice;
    budget -= std::max<int64_t>(1, choice.score.false_alarms - allowed);
  }
  return std::nullopt;
}

/// Words that silence each other are seen only together: one word's threshold after the other moves by a few steps, as
/// long as that finds more, or as much with fewer false alarms.
void Refine(const Engine& engine, const StreamEvaluationOptions& options,
            std::span<const HeardStream> streams, Choice& choice) {
  constexpr size_t kSteps = 3, kRounds = 3;
  const std::vector<double> thresholds = CurveThresholds();
  const double allowed = options.fa_per_hour * choice.score.hours + 1e-9;
  bool better = true;
  for (size_t round = 0; better && round < kRounds; ++round) {
    better = false;
    for (size_t w = 0; w < choice.detection.words.size(); ++w) {
      const auto at = static_cast<size_t>(
          std::find(thresholds.begin(), thresholds.end(), choice.detection.words[w].threshold) -
          thresholds.begin());
      const size_t first = at < kSteps ? 0 : at - kSteps;
      std::vector<Choice> tried(std::min(at + kSteps + 1, thresholds.size()) - first);
      InParallel(tried.size(), [&](size_t i) {
        tried[i].detection = choice.detection;
        tried[i].detection.words[w].threshold = thresholds[first + i];
        tried[i].score = ScoreAt(engine, options, tried[i].detection, streams);
      });
      for (size_t i = tried.size(); i-- > 0;) {
        const StreamScore &ours = choice.score, &theirs = tried[i].score;
        if (static_cast<double>(theirs.false_alarms) > allowed) continue;
        if (std::pair(theirs.found, -theirs.false_alarms) <=
            std::pair(ours.found, -ours.false_alarms))
          continue;
        choice = std::move(tried[i]);
        better = true;
      }
    }
  }
}

}  // namespace

HeardStream HearStream(const Engine& engine, const StreamOptions& options,
                       const std::string& path) {
  HeardStream heard{.path = path};
  const std::string labels = data::LabelsPathOf(path);
  if (labels == path) {
    Fail(ErrorKind::kData, path,
         "is a file of labels (hint: name the recording; its labels are beside it, with .txt)");
  }
  heard.labels = data::ReadLabels(labels);
  data::Recording recording(path, engine.sample_rate_hz());
  recording.RestartWithoutCancelling();
  Stream stream = engine.NewStream(options);
  const auto keep = [&](const StreamWindow& window) {
    heard.logits_wc.insert(heard.logits_wc.end(), window.logits.begin(), window.logits.end());
    heard.rms_w.push_back(window.rms);
  };
  std::vector<int16_t> pcm;
  for (auto block = recording.Next(); !block.empty(); block = recording.Next()) {
    data::ToPcm16(block, pcm);
    stream.Push(std::span<const int16_t>(pcm), keep);
    heard.samples += std::ssize(pcm);
  }
  // As bisparse-listen does, so that a word at the very end is heard whole.
  pcm.assign(static_cast<size_t>(WindowSamples(engine)), 0);
  stream.Push(std::span<const int16_t>(pcm), keep);
  const double seconds = static_cast<double>(heard.samples) / engine.sample_rate_hz();
  for (const data::Label& label : heard.labels) {
    if (label.begin_s <= seconds && label.end_s <= seconds + 1) continue;
    Fail(ErrorKind::kData, labels,
         "'{:.80}' lies at {:.2f} to {:.2f} s, but {} ends at {:.2f} s (hint: labels of another "
         "recording?)",
         Shown(label.text), label.begin_s, label.end_s, Shown(path), seconds);
  }
  return heard;
}

std::vector<Event> EventsIn(const Engine& engine, const StreamOptions& options,
                            const DetectionOptions& detection, const HeardStream& stream) {
  Detector detector(engine, options, detection);
  const auto classes = static_cast<size_t>(engine.output_count());
  const int64_t hop =
      int64_t{options.hop_frames} * EngineAccess::model(engine).front_end->hop_samples;
  const int64_t samples = WindowSamples(engine);
  std::vector<Event> events;
  for (size_t w = 0; w < stream.rms_w.size(); ++w) {
    const int64_t begin = static_cast<int64_t>(w) * hop;
    const std::optional<Event> event =
        detector.Push({.begin = begin,
                       .end = begin + samples,
                       .logits = std::span(stream.logits_wc).subspan(w * classes, classes),
                       .rms = stream.rms_w[w]});
    if (event) events.push_back(*event);
  }
  return events;
}

std::optional<double> StreamScore::misses() const {
  if (labels == 0) return std::nullopt;
  return 1 - static_cast<double>(found) / static_cast<double>(labels);
}

double StreamScore::fa_per_hour() const { return static_cast<double>(false_alarms) / hours; }

StreamScore ScoreOf(const std::vector<std::string>& class_names, int32_t sample_rate_hz,
                    int64_t window_samples, double tolerance_ms,
                    std::span<const HeardStream> streams,
                    const std::vector<std::vector<Event>>& events) {
  StreamScore score;
  std::map<std::string, size_t> number_of;
  for (const std::string& name : class_names) {
    if (packed::IsNoWord(name)) continue;
    number_of[name] = score.words.size();
    score.words.push_back({.name = name});
  }
  std::map<std::pair<std::string, std::string>, int64_t> confusions;
  for (size_t s = 0; s < streams.size(); ++s) {
    const HeardStream& stream = streams[s];
    score.hours += static_cast<double>(stream.samples) / sample_rate_hz / 3600;
    for (const data::Label& label : stream.labels) {
      const auto word = number_of.find(label.text);
      if (word == number_of.end()) continue;
      ++score.labels;
      ++score.words[word->second].labels;
    }
    std::vector<bool> taken(stream.labels.size());
    for (const Event& event : events[s]) {
      const std::string& name = class_names[event.word];
      StreamScore::Word& word = score.words[number_of.at(name)];
      const double told_s = static_cast<double>(event.end) / sample_rate_hz;
      bool found = false;
      for (size_t l = 0; l < stream.labels.size() && stream.labels[l].begin_s <= told_s; ++l) {
        const data::Label& label = stream.labels[l];
        if (taken[l] || label.text != name || told_s > label.end_s + tolerance_ms / 1000) continue;
        taken[l] = found = true;
        ++word.found;
        ++score.found;
        score.latency_ms.push_back(1000 * (told_s - label.end_s));
        break;
      }
      if (found) continue;
      ++word.false_alarms;
      ++score.false_alarms;
      const double from_s = told_s - static_cast<double>(window_samples) / sample_rate_hz;
      ++confusions[{name, HeardIn(stream.labels, name, from_s, told_s)}];
    }
  }
  std::sort(score.latency_ms.begin(), score.latency_ms.end());
  for (const auto& [pair, count] : confusions)
    score.confusions.push_back({pair.first, pair.second, count});
  std::stable_sort(score.confusions.begin(), score.confusions.end(),
                   [](const auto& a, const auto& b) { return a.count > b.count; });
  return score;
}

StreamEvaluation EvaluateStreams(const Engine& engine, const StreamEvaluationOptions& options,
                                 std::span<const HeardStream> streams) {
  StreamEvaluation evaluation{.score = ScoreAt(engine, options, options.detection, streams)};
  std::set<std::string> others;
  for (const HeardStream& stream : streams) {
    for (const data::Label& label : stream.labels) {
      const auto& names = engine.class_names();
      const bool word = std::find(names.begin(), names.end(), label.text) != names.end() &&
                        !packed::IsNoWord(label.text);
      if (!word && !label.text.starts_with('_')) others.insert(label.text);
    }
  }
  evaluation.other_labels.assign(others.begin(), others.end());
  if (evaluation.score.labels == 0) return evaluation;
  const std::vector<double> thresholds = CurveThresholds();
  const std::vector<StreamScore> scores = ScoresOf(engine, options, options.detection, streams);
  for (size_t i = 0; i < scores.size(); ++i) {
    const StreamPoint point{.threshold = thresholds[i],
                            .misses = *scores[i].misses(),
                            .fa_per_hour = scores[i].fa_per_hour()};
    evaluation.curve.push_back(point);
    if (point.fa_per_hour > options.fa_per_hour) continue;
    if (!evaluation.allowed || point.misses < evaluation.allowed->misses)
      evaluation.allowed = point;
  }
  return evaluation;
}

DetectionOptions ChooseDetection(const Engine& engine, const StreamEvaluationOptions& options,
                                 std::span<const double> averages_ms,
                                 std::span<const HeardStream> streams) {
  std::vector<double> averages(averages_ms.begin(), averages_ms.end());
  if (averages.empty()) averages.push_back(options.detection.average_ms);
  std::optional<Choice> best;
  for (const double average_ms : averages) {
    DetectionOptions detection = options.detection;
    detection.average_ms = average_ms;
    std::optional<Choice> choice = ChooseWith(engine, options, detection, streams);
    if (choice && choice->score.labels == 0) {
      Fail(ErrorKind::kData, "--choose-thresholds",
           "no label of the streams is a word of the model");
    }
    if (choice && (!best || choice->score.found > best->score.found)) best = std::move(choice);
  }
  if (!best) {
    Fail(ErrorKind::kData, "--choose-thresholds",
         "more than {:g} false alarms an hour at every threshold (hint: a higher --fa-per-hour, or "
         "another network)",
         options.fa_per_hour);
  }
  Refine(engine, options, streams, *best);
  return best->detection;
}

std::string FormatStreamEvaluation(const StreamEvaluation& evaluation,
                                   const StreamEvaluationOptions& options) {
  const StreamScore& score = evaluation.score;
  std::string text =
      fmt::format("{:.2f} hours, {} words: {} found", score.hours, score.labels, score.found);
  if (score.misses()) text += fmt::format(", {:.1f} % missed", 100 * *score.misses());
  text +=
      fmt::format("; {} false alarms, {:.1f} an hour\n", score.false_alarms, score.fa_per_hour());
  if (!score.latency_ms.empty()) {
    text += fmt::format("from a word's end to its event: median {:.0f} ms, 90 % within {:.0f} ms\n",
                        Quantile(score.latency_ms, 0.5), Quantile(score.latency_ms, 0.9));
  }
  text += fmt::format("\n{:<20}{:>8}{:>8}{:>10}{:>15}{:>9}\n", "word", "said", "found", "missed",
                      "false alarms", "an hour");
  for (const StreamScore::Word& word : score.words) {
    text += fmt::format(
        "{:<20}{:>8}{:>8}{:>10}{:>15}{:>9.1f}\n", Shown(word.name), word.labels, word.found,
        word.labels == 0
            ? "-"
            : fmt::format("{:.1f} %", 100.0 * static_cast<double>(word.labels - word.found) /
                                          static_cast<double>(word.labels)),
        word.false_alarms, static_cast<double>(word.false_alarms) / score.hours);
  }
  if (!score.confusions.empty()) {
    text += "\nthe commonest false alarms, and what was to be heard:\n";
    for (size_t i = 0; i < std::min<size_t>(10, score.confusions.size()); ++i) {
      const auto& [word, heard_in, count] = score.confusions[i];
      text += fmt::format("{:>6}  {} in {}\n", count, Shown(word), Shown(heard_in));
    }
  }
  if (evaluation.curve.empty()) return text;
  text += fmt::format("\none threshold for all words:\n{:>9}{:>10}{:>15}\n", "threshold", "missed",
                      "alarms an hour");
  for (size_t i = 0; i < evaluation.curve.size(); i += 4) {
    const StreamPoint& point = evaluation.curve[i];
    text += fmt::format("{:>9.4f}{:>8.1f} %{:>15.1f}\n", point.threshold, 100 * point.misses,
                        point.fa_per_hour);
  }
  return text + (evaluation.allowed
                     ? fmt::format(
                           "at most {:g} false alarms an hour: {:.1f} % missed at threshold {:.4f} "
                           "({:.1f} an hour)\n",
                           options.fa_per_hour, 100 * evaluation.allowed->misses,
                           evaluation.allowed->threshold, evaluation.allowed->fa_per_hour)
                     : fmt::format("no threshold has at most {:g} false alarms an hour\n",
                                   options.fa_per_hour));
}

nlohmann::ordered_json StreamEvaluationJson(const StreamEvaluation& evaluation,
                                            const StreamEvaluationOptions& options) {
  using Json = nlohmann::ordered_json;
  const auto point_json = [](const StreamPoint& point) {
    return Json{{"threshold", point.threshold},
                {"misses", point.misses},
                {"fa_per_hour", point.fa_per_hour}};
  };
  const StreamScore& score = evaluation.score;
  Json json = {{"hours", score.hours},
               {"words_said", score.labels},
               {"words_found", score.found},
               {"misses", score.misses() ? Json(*score.misses()) : Json()},
               {"false_alarms", score.false_alarms},
               {"fa_per_hour", score.fa_per_hour()}};
  const auto latency = [&](double part) {
    return score.latency_ms.empty() ? Json() : Json(Quantile(score.latency_ms, part));
  };
  json["latency_ms"] = {{"median", latency(0.5)}, {"p90", latency(0.9)}};
  Json& words = json["words"] = Json::array();
  for (const StreamScore::Word& word : score.words) {
    words.push_back({{"word", word.name},
                     {"said", word.labels},
                     {"found", word.found},
                     {"false_alarms", word.false_alarms},
                     {"fa_per_hour", static_cast<double>(word.false_alarms) / score.hours}});
  }
  Json& confusions = json["confusions"] = Json::array();
  for (const auto& [word, heard_in, count] : score.confusions)
    confusions.push_back({{"word", word}, {"heard_in", heard_in}, {"count", count}});
  Json& curve = json["curve"] = Json::array();
  for (const StreamPoint& point : evaluation.curve) curve.push_back(point_json(point));
  json["allowed"] = evaluation.allowed ? point_json(*evaluation.allowed) : point_json({});
  if (!evaluation.allowed)
    for (auto& value : json["allowed"]) value = nullptr;
  json["allowed"]["fa_per_hour_limit"] = options.fa_per_hour;
  const DetectionOptions& detection = options.detection;
  json["detection"] = {{"average_ms", detection.average_ms},
                       {"threshold", detection.threshold},
                       {"words", Json::array()},
                       {"least_ms", detection.least_ms},
                       {"refractory_ms", detection.refractory_ms},
                       {"gate_db", detection.gate_db}};
  for (const WordThreshold& word : detection.words)
    json["detection"]["words"].push_back({{"word", word.word}, {"threshold", word.threshold}});
  return json;
}

}  // namespace bisparse::apps
