// SPDX-License-Identifier: Apache-2.0
// The table of a network that is not trained yet: shapes, packing, densities, weights,
// multiplications (--dry-run). Read first: config.h. Tested in: describe_test.cc.
#ifndef BISPARSE_TRAIN_CONFIG_DESCRIBE_H_
#define BISPARSE_TRAIN_CONFIG_DESCRIBE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "train/config/config.h"

namespace bisparse::train {

/// One layer's numbers. MACs = multiplications of one sample.
struct LayerSummary {
  std::string name, kind;
  std::string reads;  ///< the layers whose values it reads, by name
  Shape output;
  int32_t set_size = 1, lanes = 1;  ///< conv2d, linear
  int64_t weights = 0;              ///< as if dense
  int64_t nonzeros = 0;             ///< owned
  int64_t parameters = 0;           ///< nonzeros + biases + a norm's scale and shift
  double input_density = 1.0;       ///< largest part of the inputs that can be non-zero
  double output_density = 1.0;
  int64_t macs_dense = 0, macs_sparse_dense = 0, macs_sparse_sparse = 0;
};

/// One per layer. Densities: a k-WTA sets winners / units; a pool after it may multiply that by its
/// window; an add gives the sum of its inputs', a multiply the smallest; conv2d, linear and norms give 1; others keep it.
std::vector<LayerSummary> SummariseNetwork(const Config& config);

/// The table with totals, ending in a newline. Of a graph it says what each layer reads that is not the line before.
std::string DescribeNetwork(const Config& config);

}  // namespace bisparse::train

#endif  // BISPARSE_TRAIN_CONFIG_DESCRIBE_H_
