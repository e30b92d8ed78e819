// SPDX-License-Identifier: Apache-2.0
// Who speaks a recording, and the splits that follow: all recordings of a speaker are in one split.
// The official rule, a hash of the speaker's name, holds for everybody. Where names are a user's own
// (no "_nohash_" in them) and few, it may leave a split empty: then the speakers with the smallest
// hashes fill it up to its share. Tested in: speech_commands_layout_test.cc.
#ifndef BISPARSE_DATA_SPEAKERS_H_
#define BISPARSE_DATA_SPEAKERS_H_

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "data/dataset.h"
#include "data/recording_lists.h"

namespace bisparse::data {

/// The official rule: a hash of the speaker (the file name up to "_nohash_") decides, so that all
/// clips of a speaker are in one split, also when clips are added later. `file_name` is a path or a
/// name; percentages in [0, 100].
Split SplitOfSpeaker(std::string_view file_name, double validation_percent, double testing_percent);

/// Of the hashes in [0, 100], from 0 on: validation, then what is skipped, then testing; training
/// has the rest.
struct SplitShares {
  double validation_percent = 0, skipped_percent = 0, testing_percent = 0;
};

/// The split of each path. Who speaks: SpeakerSource in config.h; `index` finds what the lines of
/// speakers.csv name. Warns where a voice may be in two splits. Throws Error (kData) where the file
/// that config.speakers asks for is not there.
std::map<std::string, Split> SplitBySpeaker(const SpeechCommandsConfig& config,
                                            const RecordingIndex& index,
                                            const std::vector<std::string>& paths,
                                            const SplitShares& shares,
                                            std::vector<std::string>& warnings);

}  // namespace bisparse::data

#endif  // BISPARSE_DATA_SPEAKERS_H_
