/* SPDX-License-Identifier: Apache-2.0 */
/* What consumer/main.cc does, in C: consumer MODEL prints a line for each logit of a sample of zeros. */
#include <bisparse/bisparse.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char** argv) {
  bisparse_engine* engine = NULL;
  size_t feature_count = 0, logit_count = 0, i;
  float *features, *logits;
  if (argc != 2) return 2;
  if (bisparse_engine_load(argv[1], NULL, &engine) != BISPARSE_OK ||
      bisparse_engine_feature_count(engine, &feature_count) != BISPARSE_OK ||
      bisparse_engine_logit_count(engine, &logit_count) != BISPARSE_OK) {
    fprintf(stderr, "%s\n", bisparse_last_error());
    return 3;
  }
  features = calloc(feature_count, sizeof *features);
  logits = calloc(logit_count, sizeof *logits);
  if (features == NULL || logits == NULL) return 1;
  if (bisparse_engine_run(engine, features, feature_count, logits, logit_count) != BISPARSE_OK)
    return 1;
  for (i = 0; i < logit_count; ++i) printf("%g\n", (double)logits[i]);
  free(features);
  free(logits);
  bisparse_engine_free(engine);
  return 0;
}
