/* SPDX-License-Identifier: Apache-2.0 */
/* Read first: in_c.h. C99 with pedantic warnings as errors. */
#include "deploy/c/in_c.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "bisparse/bisparse.h"

#define MUST(condition) \
  do {                  \
    if (!(condition)) { \
      return __LINE__;  \
    }                   \
  } while (0)

struct work {
  const bisparse_engine* engine;
  const float* features;
  size_t batch;
  float* logits;
  const int16_t* sound;
  size_t sound_count, piece;
  size_t events;
  int failed_line;
};

static int run(struct work* work) {
  size_t feature_count = 0, logit_count = 0, begin, i;
  char message[64];
  bisparse_stream_options options;
  bisparse_stream* stream = NULL;
  MUST(bisparse_engine_feature_count(work->engine, &feature_count) == BISPARSE_OK);
  MUST(bisparse_engine_logit_count(work->engine, &logit_count) == BISPARSE_OK);
  MUST(strcmp(bisparse_last_error(), "") == 0);
  /* The other thread asks for another index: the messages must not mix. */
  MUST(bisparse_engine_layer(work->engine, 1000 + work->piece, NULL, 0) == BISPARSE_ARGUMENT);
  snprintf(message, sizeof message, "index = %d,", 1000 + (int)work->piece);
  for (i = 0; i < work->batch; ++i) {
    MUST(bisparse_engine_run(work->engine, work->features + i * feature_count, feature_count,
                             work->logits + i * logit_count, logit_count) == BISPARSE_OK);
    MUST(strstr(bisparse_last_error(), message) != NULL);
  }
  MUST(bisparse_stream_options_init(work->engine, &options, sizeof options) == BISPARSE_OK);
  options.average_ms = 0;
  options.threshold = 0.4;
  options.refractory_ms = 0;
  options.word_count = 0;
  MUST(bisparse_stream_new(work->engine, &options, &stream) == BISPARSE_OK);
  for (begin = 0; begin < work->sound_count; begin += work->piece) {
    const size_t left = work->sound_count - begin;
    const size_t count = left < work->piece ? left : work->piece;
    int found = 1;
    MUST(bisparse_stream_push_i16(stream, work->sound + begin, count) == BISPARSE_OK);
    while (found) {
      bisparse_event event;
      MUST(bisparse_stream_next_event(stream, &event, &found) == BISPARSE_OK);
      work->events += (size_t)found;
      MUST(!found || strlen(event.word) > 0);
    }
  }
  bisparse_stream_free(stream);
  return 0;
}

static void* start(void* argument) {
  struct work* const work = argument;
  work->failed_line = run(work);
  return NULL;
}

int RunInTwoThreads(const char* path, const float* features, size_t batch, float* logits,
                    const int16_t* sound, size_t sound_count, size_t* word_events) {
  bisparse_engine* engine = NULL;
  bisparse_engine_options options;
  struct work works[2];
  pthread_t threads[2];
  size_t logit_count = 0;
  int i;
  MUST(bisparse_engine_options_init(&options, sizeof options) == BISPARSE_OK);
  MUST(bisparse_engine_load(path, &options, &engine) == BISPARSE_OK);
  MUST(bisparse_engine_logit_count(engine, &logit_count) == BISPARSE_OK);
  for (i = 0; i < 2; ++i) {
    memset(&works[i], 0, sizeof works[i]);
    works[i].engine = engine;
    works[i].features = features;
    works[i].batch = batch;
    works[i].logits = logits + (size_t)i * batch * logit_count;
    works[i].sound = sound;
    works[i].sound_count = sound_count;
    works[i].piece = i == 0 ? 7 : 1009;
    MUST(pthread_create(&threads[i], NULL, start, &works[i]) == 0);
  }
  for (i = 0; i < 2; ++i) {
    MUST(pthread_join(threads[i], NULL) == 0);
    word_events[i] = works[i].events;
  }
  bisparse_engine_free(engine);
  return works[0].failed_line != 0 ? works[0].failed_line : works[1].failed_line;
}
