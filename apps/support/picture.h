// SPDX-License-Identifier: Apache-2.0
// A layer's complementary sets as an SVG picture, after the figure of Hunter, Spracklen, Ahmad 2022. The sparse kernels of
// a set lie beside each other, each in its colour, then the packed one that they fill without a gap.
#ifndef BISPARSE_APPS_SUPPORT_PICTURE_H_
#define BISPARSE_APPS_SUPPORT_PICTURE_H_

#include <string>

#include "deploy/packed/model.h"

namespace bisparse::apps {

/// Of the layer called `name`, or of the first packed layer if it is empty. Throws Error
/// (kConfiguration) where there is no such layer or it is dense.
const packed::Layer& FindPackedLayer(const packed::Model& model, const std::string& name);

/// At most four sets are drawn. A panel is a kernel (of L lanes), with a column for each input channel and a row for each
/// tap. A convolution of one channel is drawn as its window, a linear layer with 64 inputs a row. A rectangle's width and
/// height count positions.
std::string PictureOfSets(const packed::Layer& layer);

}  // namespace bisparse::apps

#endif  // BISPARSE_APPS_SUPPORT_PICTURE_H_
