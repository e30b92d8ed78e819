// SPDX-License-Identifier: Apache-2.0
// A quantile of times that were measured.
#ifndef BISPARSE_APPS_SUPPORT_QUANTILE_H_
#define BISPARSE_APPS_SUPPORT_QUANTILE_H_

#include <cstddef>
#include <vector>

namespace bisparse::apps {

/// The nearest of at least one time, in ascending order.
inline double Quantile(const std::vector<double>& sorted_us, double fraction) {
  const double at = fraction * static_cast<double>(sorted_us.size() - 1);
  return sorted_us[static_cast<size_t>(at + 0.5)];
}

}  // namespace bisparse::apps

#endif  // BISPARSE_APPS_SUPPORT_QUANTILE_H_
