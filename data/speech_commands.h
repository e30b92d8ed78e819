// SPDX-License-Identifier: Apache-2.0
// Speech Commands as a Dataset: words as listed, then _unknown_, then _silence_.
//
//   samples of a split: [clips of the listed words | slots of _unknown_ | slots of _silence_]
//
// A slot of _unknown_ in training is another clip each epoch. The pool is walked through in a fixed random order, so
// that all other words are heard in the long run while the class stays as small as asked. At most 8 times the slots are
// decoded. Slots of _silence_ are cuts from the background recordings: their first 80 % in training, the rest in
// validation (10 %) and testing (10 %), always the same cuts there. Every tenth slot is digital silence. The perturbed
// split is the validation split, perturbed_copies times.
// Read first: dataset.h, speech_commands_layout.h. Tested in: speech_commands_test.cc.
#ifndef BISPARSE_DATA_SPEECH_COMMANDS_H_
#define BISPARSE_DATA_SPEECH_COMMANDS_H_

#include <memory>

#include "data/dataset.h"

namespace bisparse::data {

std::unique_ptr<Dataset> OpenSpeechCommands(const DatasetConfig& config, const FrontEnd& front_end,
                                            const OpenOptions& options);

}  // namespace bisparse::data

#endif  // BISPARSE_DATA_SPEECH_COMMANDS_H_
