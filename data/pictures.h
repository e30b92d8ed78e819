// SPDX-License-Identifier: Apache-2.0
// A classification data set of PNG and JPEG files, a folder a class. Which files there are and how they are split:
// picture_folder.h; what becomes of each: picture.h; their size: deploy/frontend/pixels.h; where they are kept: picture_cache.h;
// how training ones are changed: augment_pixels.h. A broken picture is left out and counted, with DatasetConfig::strict an error;
// a class without a picture in the training split is an error. Means and deviations that the configuration lacks are
// those of the training samples as they are without augmentation, over all places.
// Read first: dataset.h. Tested in: pictures_test.cc.
#ifndef BISPARSE_DATA_PICTURES_H_
#define BISPARSE_DATA_PICTURES_H_

#include <memory>

#include "data/dataset.h"

namespace bisparse::data {

std::unique_ptr<Dataset> OpenPictures(const DatasetConfig& config, const OpenOptions& options);

}  // namespace bisparse::data

#endif  // BISPARSE_DATA_PICTURES_H_
