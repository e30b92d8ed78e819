// SPDX-License-Identifier: Apache-2.0
// Small networks whose layers cover the cost model's table: sizes from one cache level to the next, every
// form of packing and k-WTA. Used by: calibrate_cost.cc.
#ifndef BISPARSE_TOOLS_COST_NETWORKS_H_
#define BISPARSE_TOOLS_COST_NETWORKS_H_

#include <string>
#include <utility>
#include <vector>

/// Names and configurations.
std::vector<std::pair<std::string, std::string>> CostNetworks();

#endif  // BISPARSE_TOOLS_COST_NETWORKS_H_
