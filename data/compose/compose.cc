// SPDX-License-Identifier: Apache-2.0
// Read first: compose.h. Draws, places, mixes; past 400 lines with its checks, in this order.
#include "data/compose/compose.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <numeric>
#include <optional>

#include "data/audio.h"
#include "data/compose/labels.h"
#include "data/compose/material.h"
#include "deploy/base/check.h"
#include "deploy/base/file.h"
#include "deploy/base/random.h"

namespace bisparse::data {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kFrame = kStreamRateHz / 100;  // 10 ms
constexpr int64_t kGapFrames = 15;               // within a word: the closure of a t, 150 ms
constexpr int64_t kLeastPause = kStreamRateHz * 3 / 10;  // between pieces
constexpr int64_t kPieceFade = kStreamRateHz / 50;       // 20 ms
constexpr int64_t kNoiseFade = kStreamRateHz / 20;       // 50 ms, one noise into the next
constexpr int64_t kMostWord = 20 * kStreamRateHz;        // a longer recording is not of one word
constexpr int64_t kMostTalk = 20 * kStreamRateHz;        // longer talk is used in parts
constexpr int64_t kMostNoise = 10 * kStreamRateHz;       // and so is noise
constexpr int64_t kLeastScene = 20 * kStreamRateHz;      // and up to twice that
constexpr int64_t kHiss = 8;                             // evenly in ±8 steps: −77 dB

/// What random numbers are for.
enum Purpose : uint64_t {
  kWordDraw,
  kOtherDraw,
  kTalkDraw,
  kNoiseDraw,
  kOrder,
  kPauses,
  kScenes,
  kHissDraw
};

/// 10^(tenths / 200), by products alone: the same on every machine. 1.0115… is the 200th root of 10.
double FactorOfDb(int64_t tenths) {
  double root = tenths < 0 ? 1 / 1.0115794542598985 : 1.0115794542598985, factor = 1;
  for (uint64_t power = static_cast<uint64_t>(std::abs(tenths)); power != 0; power >>= 1) {
    if (power & 1) factor *= root;
    root *= root;
  }
  return factor;
}

/// In tenths.
int64_t DrawDb(CounterRandom& random, double least, double most) {
  const int64_t low = std::llround(10 * least), high = std::llround(10 * most);
  return low + random.Below(static_cast<uint32_t>(high - low + 1));
}

/// Visits all of a list in random order, then all again in another.
class Walk {
 public:
  Walk(size_t size, uint64_t seed, Purpose purpose, uint64_t number)
      : order_(size), random_(seed, {purpose, number}) {
    std::iota(order_.begin(), order_.end(), size_t{0});
  }
  size_t Next() {
    if (at_ == 0) {
      for (size_t i = order_.size(); i > 1; --i)
        std::swap(order_[i - 1], order_[random_.Below(static_cast<uint32_t>(i))]);
    }
    const size_t next = order_[at_];
    at_ = (at_ + 1) % order_.size();
    return next;
  }

 private:
  std::vector<size_t> order_;
  size_t at_ = 0;
  CounterRandom random_;
};

/// Reads recordings; keeps the last one.
class Reader {
 public:
  explicit Reader(ComposeResult& result) : result_(result) {}

  /// Null for a recording that is broken, which is told once.
  const std::vector<int16_t>* Read(const std::string& path) {
    if (path == path_ && !pcm_.empty()) return &pcm_;
    if (bad_.contains(path)) return nullptr;
    try {
      pcm_ = ToPcm16(ReadAudio(path, kStreamRateHz).samples);
      path_ = path;
      return &pcm_;
    } catch (const Error& error) {
      path_.clear();
      Skip(path, error.what());
      return nullptr;
    }
  }
  void Skip(const std::string& path, const std::string& reason) {
    if (bad_.emplace(path, true).second) result_.skipped.push_back(reason);
  }
  bool Skipped(const std::string& path) const { return bad_.contains(path); }

 private:
  ComposeResult& result_;
  std::string path_;
  std::vector<int16_t> pcm_;
  std::map<std::string, bool> bad_;
};

/// What sounds at one place of a stream.
struct Piece {
  std::string path, label;
  int64_t from = 0, length = 0;  // of the recording
  Loudness loudness;             // relative to `from`
  int64_t at = 0;                // of the stream
};

/// Draws pieces of one kind: groups in turn, in random order, and in each its recordings.
class Drawer {
 public:
  Drawer(const std::vector<SoundGroup>& groups, uint64_t seed, Purpose purpose, Reader& reader,
         bool each_needed = false)
      : groups_(groups),
        turn_(groups.size(), seed, purpose, 0),
        cut_(seed, {purpose, 1}),
        reader_(reader),
        each_needed_(each_needed) {
    for (size_t g = 0; g < groups.size(); ++g)
      walks_.emplace_back(groups[g].sources.size(), seed, purpose, g + 2);
  }

  /// At most `most` samples; of a longer recording a random part, or nothing without `cut`. A group of which nothing
  /// can be used is passed over, unless each is needed. Throws Error (kData) where nothing can be read.
  Piece Draw(int64_t most, bool cut = true) {
    size_t group = 0;
    for (size_t tried = 0; tried < groups_.size(); ++tried) {
      group = turn_.Next();
      if (std::optional<Piece> piece = DrawFrom(group, most, cut)) return *std::move(piece);
      if (each_needed_) break;
    }
    Fail(ErrorKind::kData, groups_[group].sources[0].path,
         "neither it nor another recording of '{}' can be used (hint: they are broken or silent)",
         groups_[group].name);
  }
  /// The same of a stated group; none where all of it is broken or silent.
  std::optional<Piece> DrawFrom(size_t group, int64_t most, bool cut = true) {
    const std::vector<SoundSource>& sources = groups_[group].sources;
    for (size_t tried = 0; tried < 2 * sources.size(); ++tried) {
      const SoundSource& source = sources[walks_[group].Next()];
      std::optional<Piece> piece = PieceOf(source, most, cut);
      if (!piece) continue;
      piece->label = groups_[group].name;
      most_often_ = std::max(most_often_, ++uses_[source.path]);
      return piece;
    }
    return std::nullopt;
  }
  size_t NextGroup() { return turn_.Next(); }
  int64_t most_often() const { return most_often_; }

 private:
  std::optional<Piece> PieceOf(const SoundSource& source, int64_t most, bool cut) {
    if (reader_.Skipped(source.path)) return std::nullopt;
    const std::vector<int16_t>* const pcm = reader_.Read(source.path);
    if (pcm == nullptr) return std::nullopt;
    const auto size = static_cast<double>(pcm->size());
    const auto begin = static_cast<int64_t>(source.from * size);
    const auto end = static_cast<int64_t>(source.to * size);
    Piece piece{
        .path = source.path, .label = {}, .from = begin, .length = std::min(most, end - begin)};
    if (end - begin > most && !cut) {
      reader_.Skip(source.path, fmt::format("{}: takes {:.0f} s, too long for one word",
                                            source.path, size / kStreamRateHz));
      return std::nullopt;
    }
    if (end - begin > most) piece.from += cut_.Below(static_cast<uint32_t>(end - begin - most + 1));
    piece.loudness = LoudnessOf(std::span(*pcm).subspan(static_cast<size_t>(piece.from),
                                                        static_cast<size_t>(piece.length)));
    if (piece.loudness.mean_square > 0) return piece;
    if (end - begin <= most) reader_.Skip(source.path, source.path + ": is silent");
    return std::nullopt;
  }

  const std::vector<SoundGroup>& groups_;
  Walk turn_;
  CounterRandom cut_;
  std::vector<Walk> walks_;
  Reader& reader_;
  const bool each_needed_;
  std::map<std::string, int64_t> uses_;
  int64_t most_often_ = 0;
};

struct Scene {
  int64_t begin = 0, end = 0, level_tenths = 0;
  std::string noise;
};

class Composer {
 public:
  Composer(const ComposeConfig& config, const Material& material, ComposeResult& result)
      : config_(config),
        material_(material),
        result_(result),
        reader_(result),
        length_(std::llround(config.minutes * 60 * kStreamRateHz)) {
    words_.emplace(material.words, config.seed, kWordDraw, reader_, /*each_needed=*/true);
    if (!material.others.empty())
      others_.emplace(material.others, config.seed, kOtherDraw, reader_);
    if (!material.talk.empty()) talk_.emplace(material.talk, config.seed, kTalkDraw, reader_);
    if (!material.noise.empty()) noise_.emplace(material.noise, config.seed, kNoiseDraw, reader_);
  }

  void Write(int32_t stream) {
    std::vector<Piece> pieces = Draw(stream);
    Place(pieces, stream);
    pcm_.assign(static_cast<size_t>(length_), 0);
    const std::vector<Scene> scenes = MakeScenes(stream);
    std::vector<Label> labels;
    for (const Scene& scene : scenes) {
      if (scene.noise.empty()) continue;
      labels.push_back({static_cast<double>(scene.begin) / kStreamRateHz,
                        static_cast<double>(scene.end) / kStreamRateHz, "_noise_ " + scene.noise});
    }
    for (const Piece& piece : pieces) {
      Mix(piece, scenes);
      const auto seconds = [&](int64_t samples) {
        return static_cast<double>(piece.at + samples) / kStreamRateHz;
      };
      labels.push_back({seconds(piece.loudness.begin), seconds(piece.loudness.end), piece.label});
      if (config_.progress) config_.progress(++done_, total_);
    }
    std::stable_sort(labels.begin(), labels.end(),
                     [](const Label& a, const Label& b) { return a.begin_s < b.begin_s; });
    const std::string name =
        (fs::path(config_.out) / fmt::format("stream_{:03}.", stream + 1)).string();
    WriteRecording(name + (config_.flac ? "flac" : "wav"), pcm_, kStreamRateHz);
    WriteFileAtomically(name + "txt", LabelsText(labels));
    result_.hours += static_cast<double>(length_) / kStreamRateHz / 3600;
    result_.most_often = words_->most_often();
  }

 private:
  /// All pieces of a stream, in random order.
  std::vector<Piece> Draw(int32_t stream) {
    std::vector<Piece> pieces;
    const auto draw = [&](Drawer& drawer, double per_minute, const char* prefix) {
      const int64_t count = std::llround(per_minute * config_.minutes);
      for (int64_t i = 0; i < count; ++i) {
        pieces.push_back(drawer.Draw(kMostWord, /*cut=*/false));
        pieces.back().label = prefix + pieces.back().label;
      }
      return count;
    };
    result_.words += draw(*words_, config_.words_per_minute, "");
    if (others_) result_.others += draw(*others_, config_.others_per_minute, "_other_ ");
    const auto wanted = static_cast<int64_t>(config_.talk_frac * static_cast<double>(length_));
    for (int64_t talked = 0; talk_ && talked < wanted;) {
      Piece piece = talk_->Draw(kMostTalk);
      talked += piece.length;
      piece.label = fmt::format("_talk_ {}/{}", piece.label, fs::path(piece.path).stem().string());
      piece.loudness.begin = 0;
      piece.loudness.end = piece.length;
      result_.talk_hours += static_cast<double>(piece.length) / kStreamRateHz / 3600;
      ++result_.talk;
      pieces.push_back(std::move(piece));
    }
    CounterRandom random(config_.seed, {kOrder, static_cast<uint64_t>(stream)});
    for (size_t i = pieces.size(); i > 1; --i)
      std::swap(pieces[i - 1], pieces[random.Below(static_cast<uint32_t>(i))]);
    total_ = std::ssize(pieces) * config_.streams;
    return pieces;
  }

  /// The time that is left over becomes pauses of random length.
  void Place(std::vector<Piece>& pieces, int32_t stream) const {
    int64_t sound = 0;
    for (const Piece& piece : pieces) sound += piece.length;
    const int64_t pauses = std::ssize(pieces) + 1, rest = length_ - sound - pauses * kLeastPause;
    if (rest < 0) {
      Fail(ErrorKind::kConfiguration, config_.out,
           "{:.1f} minutes of sound and {} pauses of 0.3 s do not fit into {:g} minutes (hint: "
           "fewer words, other words or less talk)",
           static_cast<double>(sound) / kStreamRateHz / 60, pauses, config_.minutes);
    }
    CounterRandom random(config_.seed, {kPauses, static_cast<uint64_t>(stream)});
    std::vector<int64_t> weights(static_cast<size_t>(pauses));
    for (int64_t& weight : weights) weight = 1 + random.Below(1 << 20);
    const int64_t sum = std::accumulate(weights.begin(), weights.end(), int64_t{0});
    int64_t at = 0;
    for (size_t i = 0; i < pieces.size(); ++i) {
      // At most 2^28 samples times 2^20.
      at += kLeastPause + rest * weights[i] / sum;
      pieces[i].at = at;
      at += pieces[i].length;
    }
  }

  /// Hiss and noise, written to pcm_.
  std::vector<Scene> MakeScenes(int32_t stream) {
    CounterRandom hiss(config_.seed, {kHissDraw, static_cast<uint64_t>(stream)});
    for (int16_t& x : pcm_)
      x = static_cast<int16_t>(static_cast<int64_t>(hiss.Below(2 * kHiss + 1)) - kHiss);
    CounterRandom random(config_.seed, {kScenes, static_cast<uint64_t>(stream)});
    std::vector<Scene> scenes;
    for (int64_t at = 0; at < length_;) {
      const int64_t end =
          std::min(length_, at + kLeastScene + static_cast<int64_t>(random.Below(kLeastScene)));
      Scene& scene = scenes.emplace_back(Scene{.begin = at, .end = end});
      scene.level_tenths = DrawDb(random, config_.level_db_min, config_.level_db_max);
      const int64_t snr_tenths = DrawDb(random, config_.snr_db_min, config_.snr_db_max);
      if (noise_) AddNoise(scene, scene.level_tenths - snr_tenths);
      at = end;
    }
    return scenes;
  }

  /// Recordings of one kind, each fading into the next.
  void AddNoise(Scene& scene, int64_t level_tenths) {
    const size_t kind = noise_->NextGroup();
    scene.noise = material_.noise[kind].name;
    for (int64_t at = scene.begin; at < scene.end;) {
      std::optional<Piece> piece = noise_->DrawFrom(kind, kMostNoise);
      if (!piece) piece = noise_->Draw(kMostNoise);
      piece->at = std::max<int64_t>(0, at - kNoiseFade);
      piece->length = std::min(piece->length, scene.end - piece->at);
      Add(*piece, level_tenths, kNoiseFade);
      // One that is shorter than its fades moves on all the same.
      at = std::max(at + kFrame, piece->at + piece->length);
    }
  }

  void Mix(const Piece& piece, const std::vector<Scene>& scenes) {
    const auto next =
        std::upper_bound(scenes.begin(), scenes.end(), piece.at,
                         [](int64_t at, const Scene& scene) { return at < scene.begin; });
    Add(piece, std::prev(next)->level_tenths, kPieceFade);
  }

  /// Adds a piece at a level, with fades at both ends.
  void Add(const Piece& piece, int64_t level_tenths, int64_t fade) {
    const std::vector<int16_t>* const pcm = reader_.Read(piece.path);
    if (pcm == nullptr) Fail(ErrorKind::kData, piece.path, "cannot be read a second time");
    const double gain = 32768 * FactorOfDb(level_tenths) / std::sqrt(piece.loudness.mean_square);
    const int64_t gain_q16 = std::llround(std::min(gain, 32767.0) * 65536);
    for (int64_t i = 0; i < piece.length; ++i) {
      const int64_t edge = std::min({i + 1, piece.length - i, fade});
      const int64_t scaled = (*pcm)[static_cast<size_t>(piece.from + i)] * gain_q16 * edge / fade;
      int16_t& x = pcm_[static_cast<size_t>(piece.at + i)];
      const int64_t sum = x + ((scaled + (1 << 15)) >> 16);
      x = static_cast<int16_t>(std::clamp<int64_t>(sum, -32768, 32767));
      result_.clipped += x != sum ? 1 : 0;
    }
  }

  const ComposeConfig& config_;
  const Material& material_;
  ComposeResult& result_;
  Reader reader_;
  const int64_t length_;
  std::optional<Drawer> words_, others_, talk_, noise_;
  std::vector<int16_t> pcm_;
  int64_t done_ = 0, total_ = 0;
};

void CheckConfig(const ComposeConfig& config) {
  const auto range = [](const char* flag, double value, double low, double high) {
    if (!(value >= low && value <= high)) {
      Fail(ErrorKind::kConfiguration, flag, "{:g}, allowed are {:g} to {:g}", value, low, high);
    }
  };
  range("--streams", config.streams, 1, 999);
  range("--minutes", config.minutes, 0.1, 240);
  range("--words-per-minute", config.words_per_minute, 0, 60);
  range("--others-per-minute", config.others_per_minute, 0, 60);
  range("--talk-frac", config.talk_frac, 0, 0.9);
  for (const double snr : {config.snr_db_min, config.snr_db_max}) range("--snr-db", snr, -20, 60);
  for (const double level : {config.level_db_min, config.level_db_max})
    range("--level-db", level, -60, -10);
  if (config.snr_db_min > config.snr_db_max || config.level_db_min > config.level_db_max) {
    Fail(ErrorKind::kConfiguration,
         config.snr_db_min > config.snr_db_max ? "--snr-db" : "--level-db",
         "the first number is above the second");
  }
  if (config.split == Split::kPerturbed)
    Fail(ErrorKind::kConfiguration, "--split", "perturbed copies are no split of recordings");
}

/// A folder of earlier streams would mix with these.
void MakeFolder(const std::string& out) {
  std::error_code error;
  if (fs::exists(fs::symlink_status(out))) {
    if (fs::is_directory(out, error) && fs::is_empty(out, error) && !error) return;
    Fail(ErrorKind::kData, out, "exists and is not an empty folder (hint: choose another --out)");
  }
  fs::create_directories(out, error);
  if (error) FailErrno(out, "cannot be made", error.value());
}

std::string Recipe(const ComposeConfig& config, const ComposeResult& result) {
  std::string whole;
  for (const auto kind : config.whole) whole += std::string(" ") + ComposeConfig::KindName(kind);
  return fmt::format(
      "bisparse-compose, form 1\nsplit {}\nseed {}\nstreams {}, minutes {:g} each\nclips {}\nwords "
      "{}\nothers {}\nnoise {}\ntalk {}\nwhole{}\nwords a minute {:g}, other words {:g}, talk "
      "{:g}\nsnr {:g} to {:g} dB, speech {:g} to {:g} dB\npieces: {} words, {} other words, {} of "
      "talk\n",
      SplitNameOf(config.split), config.seed, config.streams, config.minutes, Shown(config.clips),
      fmt::join(config.words, " "), fmt::join(config.others, " "), fmt::join(config.noise, " "),
      fmt::join(config.talk, " "), whole, config.words_per_minute, config.others_per_minute,
      config.talk_frac, config.snr_db_min, config.snr_db_max, config.level_db_min,
      config.level_db_max, result.words, result.others, result.talk);
}

}  // namespace

const char* SplitNameOf(Split split) {
  return split == Split::kTrain ? "training" : split == Split::kValidation ? "validation" : "test";
}

const char* ComposeConfig::KindName(Kind kind) {
  switch (kind) {
    case Kind::kClips:
      return "clips";
    case Kind::kOthers:
      return "others";
    case Kind::kNoise:
      return "noise";
    case Kind::kTalk:
      return "talk";
  }
  return "";
}

Loudness LoudnessOf(std::span<const int16_t> pcm) {
  // Energies of whole frames; of less than a frame, of what there is.
  const int64_t frames = std::max<int64_t>(pcm.empty() ? 0 : 1, std::ssize(pcm) / kFrame);
  std::vector<int64_t> energies(static_cast<size_t>(frames));
  for (int64_t f = 0; f < frames; ++f) {
    for (int64_t i = f * kFrame; i < std::min<int64_t>((f + 1) * kFrame, std::ssize(pcm)); ++i) {
      const int64_t x = pcm[static_cast<size_t>(i)];
      energies[static_cast<size_t>(f)] += x * x;
    }
  }
  Loudness loudness;
  const auto peak_at = std::max_element(energies.begin(), energies.end());
  constexpr int64_t kSilent = int64_t{33} * 33 * kFrame;  // −60 dB
  if (peak_at == energies.end() || *peak_at < kSilent) return loudness;
  const int64_t peak = *peak_at;
  int64_t sum = 0, count = 0;
  for (const int64_t energy : energies) {
    if (energy < peak / 1000) continue;
    sum += energy;
    ++count;
  }
  loudness.mean_square = static_cast<double>(sum) / static_cast<double>(count * kFrame);
  // The clip's own noise: the frame that a fifth of all are quieter than.
  std::vector<int64_t> sorted = energies;
  std::sort(sorted.begin(), sorted.end());
  const int64_t own = sorted[sorted.size() / 5];
  const int64_t threshold = std::max(peak / 1000, std::min(4 * own, peak / 10));
  const auto edge = [&](int64_t step) {
    int64_t last = peak_at - energies.begin();
    for (int64_t f = last + step, quiet = 0; f >= 0 && f < frames && quiet <= kGapFrames;
         f += step) {
      const bool loud = energies[static_cast<size_t>(f)] >= threshold;
      if (loud) last = f;
      quiet = loud ? 0 : quiet + 1;
    }
    return last;
  };
  loudness.begin = edge(-1) * kFrame;
  loudness.end = std::min<int64_t>((edge(1) + 1) * kFrame, std::ssize(pcm));
  return loudness;
}

ComposeResult ComposeStreams(const ComposeConfig& config) {
  CheckConfig(config);
  const Material material = FindMaterial(config);
  MakeFolder(config.out);
  ComposeResult result{.talk_with_words = material.talk_with_words,
                       .talk_without_transcript = material.talk_without_transcript,
                       .warnings = material.warnings};
  Composer composer(config, material, result);
  for (int32_t stream = 0; stream < config.streams; ++stream) composer.Write(stream);
  WriteFileAtomically((fs::path(config.out) / "recipe.txt").string(), Recipe(config, result));
  return result;
}

}  // namespace bisparse::data
