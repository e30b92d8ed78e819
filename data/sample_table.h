// SPDX-License-Identifier: Apache-2.0
// What a user reads before a training or an evaluation begins: how many samples each class has in
// each split, and what was left out. Tested in: sample_table_test.cc.
#ifndef BISPARSE_DATA_SAMPLE_TABLE_H_
#define BISPARSE_DATA_SAMPLE_TABLE_H_

#include <string>

#include "data/dataset.h"

namespace bisparse::data {

/// A row for each class and one for all, columns "train", "validation", "test" (of the splits that
/// are open), beside each "broken", "longer", "shorter" where there are any, last "passed over";
/// then the notes.
std::string SampleTable(const Dataset& dataset);

/// SampleTable, then a line for each of the data set's warnings and broken recordings.
std::string DatasetReport(const Dataset& dataset);

/// Sentences about classes that cannot be learned or measured in a split: no sample, only one class,
/// nothing but silence.
std::vector<std::string> ClassWarnings(const Dataset& dataset, Split split);

}  // namespace bisparse::data

#endif  // BISPARSE_DATA_SAMPLE_TABLE_H_
