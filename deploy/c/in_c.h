/* SPDX-License-Identifier: Apache-2.0 */
/* A program in C, as far as a test can be one. Used by: c_api_test.cc. */
#ifndef BISPARSE_DEPLOY_C_IN_C_H_
#define BISPARSE_DEPLOY_C_IN_C_H_

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Two threads share an engine of the file and have a stream each. Each runs every sample of features [batch][feature_count]
 * by itself into its half of logits [2][batch][logit_count], fails once on purpose, and pushes the sound in pieces of its
 * own length. word_events [2]: how many events each one heard. Returns 0, or the line that went wrong. */
int RunInTwoThreads(const char* path, const float* features, size_t batch, float* logits,
                    const int16_t* sound, size_t sound_count, size_t* word_events);

#ifdef __cplusplus
}
#endif

#endif /* BISPARSE_DEPLOY_C_IN_C_H_ */
