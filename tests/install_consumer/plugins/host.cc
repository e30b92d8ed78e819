// SPDX-License-Identifier: Apache-2.0
// host MODEL PLUGIN…: loads all plug-ins so that each sees the symbols of those before it, then prints what each answers
// and how it refuses a file that is no model. Catches with the header alone; it does not link the library.
#include <bisparse/error.h>
#include <dlfcn.h>

#include <cstdio>
#include <vector>

// The host's own function with the name of one that bisparse compiles in: it must not be called in its place.
extern "C" __attribute__((visibility("default"))) unsigned long long XXH64(const void*, size_t,
                                                                           unsigned long long) {
  return 0;
}

int main(int argc, char** argv) {
  using Logit = float (*)(const char*);
  std::vector<Logit> logits;
  for (int i = 2; i < argc; ++i) {
    void* const plugin = dlopen(argv[i], RTLD_NOW | RTLD_GLOBAL);
    if (plugin == nullptr) {
      std::fprintf(stderr, "%s\n", dlerror());
      return 1;
    }
    logits.push_back(reinterpret_cast<Logit>(dlsym(plugin, "PluginLogit")));
  }
  for (const Logit logit : logits) {
    std::printf("%.9g", static_cast<double>(logit(argv[1])));
    try {
      logit("/dev/null");
      std::printf(" takes anything\n");
    } catch (const bisparse::Error& error) {
      std::printf(" throws Error %d\n", static_cast<int>(error.kind()));
    }
  }
}
