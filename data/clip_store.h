// SPDX-License-Identifier: Apache-2.0
// Decoded recordings in memory, 16 bits a sample (a whole Speech Commands fits: 100,000 clips
// are 3.2 GB; ToPcm16 in audio.h). Tested in: speech_commands_test.cc.
#ifndef BISPARSE_DATA_CLIP_STORE_H_
#define BISPARSE_DATA_CLIP_STORE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "deploy/frontend/front_end.h"

namespace bisparse::data {

struct Clip {
  std::string path;
  std::vector<int16_t> pcm;  ///< empty: broken
  int64_t length = 0;        ///< samples of the whole recording at the front end's rate
  bool silent = false;       ///< no sample of it (of the whole recording) exceeds 1 of 32768
  bool whole = false;        ///< all of the recording is kept, however long it is
  double peak = 0.0;         ///< as in Audio
  int32_t only_channel = 0;  ///< as in Audio
};

struct ClipStore {
  std::vector<Clip> clips;           ///< in the order of the paths
  std::vector<SkippedFile> skipped;  ///< in the same order
};

/// Decodes on `options.workers` threads. A clip is kept up to twice the front end's length, around
/// the place where the front end would cut it, so that a shift or a higher speed finds sound and
/// not silence; where whole[i], all of paths[i] is kept. With `strict`, throws the Error of the first broken recording.
ClipStore DecodeClips(const std::vector<std::string>& paths, const std::vector<bool>& whole,
                      const FrontEnd& front_end, bool strict, const OpenOptions& options);

/// PCM as floats in [-1, 1), at the same places in a buffer of the thread's own; valid until its
/// next call.
std::span<const float> FloatsOf(const std::vector<int16_t>& pcm);

}  // namespace bisparse::data

#endif  // BISPARSE_DATA_CLIP_STORE_H_
