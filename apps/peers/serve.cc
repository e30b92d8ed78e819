// SPDX-License-Identifier: Apache-2.0
// Read first: serve.h.
#include "apps/peers/serve.h"

#include <charconv>
#include <cstdint>
#include <cstring>
#include <exception>
#include <iostream>
#include <nlohmann/json.hpp>

#include "apps/peers/turn.h"
#include "deploy/base/check.h"
#include "deploy/base/mapped_file.h"
#include "deploy/packed/model_file.h"

namespace bisparse::peers {
namespace {

/// Whatever bytes a message holds.
std::string Line(const nlohmann::json& json) {
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

template <typename Number>
Number Parse(const char* what, const std::string& text) {
  Number value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc() && end == text.data() + text.size() && value > 0) return value;
  Fail(ErrorKind::kConfiguration, what, "'{}' is not a whole number above 0", text);
}

ServeSetup ReadSetup(int argc, char** argv) {
  if (argc != 6) {
    Fail(ErrorKind::kConfiguration, argv[0],
         "{} arguments, wanted VARIANT MODEL INPUTS THREADS BATCH (hint: bisparse-bench --peers "
         "starts this program)",
         argc - 1);
  }
  ServeSetup setup;
  setup.variant = argv[1];
  setup.model = packed::ReadModel(argv[2]);
  setup.network = MakeDenseNetwork(setup.model);
  const MappedFile inputs(argv[3]);
  setup.x_bi.resize(inputs.bytes().size() / sizeof(float));
  std::memcpy(setup.x_bi.data(), inputs.bytes().data(), setup.x_bi.size() * sizeof(float));
  setup.threads = Parse<int>("THREADS", argv[4]);
  setup.batch = Parse<int64_t>("BATCH", argv[5]);
  return setup;
}

}  // namespace

int ServePeer(int argc, char** argv, const std::function<RunBatch(const ServeSetup&)>& make) try {
  const ServeSetup setup = ReadSetup(argc, argv);
  const std::vector<float> x_bi = ChannelsFirst(setup.x_bi, setup.network.input);
  const int64_t elements = setup.network.input.elements();
  const int64_t starts = static_cast<int64_t>(x_bi.size()) / elements - setup.batch;
  std::vector<float> y_bo(static_cast<size_t>(setup.batch * setup.network.output_count()));
  const RunBatch run = make(setup);
  const auto run_call = [&](int64_t call) {
    run(x_bi.data() + call % starts * elements, y_bo.data());
  };
  const auto answer = [](const auto& values) {
    std::cout << Line({{"values", values}}) << std::endl;
  };
  answer(std::vector<float>{});
  int64_t call = 0;
  std::string word;
  while (std::cin >> word) {
    if (word == "run") {
      int64_t asked = 0;
      std::cin >> asked;
      run_call(asked);
      answer(y_bo);
    } else {
      double budget_us = 0;
      std::cin >> budget_us;
      std::vector<double> call_us;
      TimeTurn(
          budget_us, [&] { run_call(call++); }, call_us);
      answer(call_us);
    }
  }
  return 0;
} catch (const Error& error) {
  // A network that the engine is not given is no fault of the benchmark.
  nlohmann::json answer = {{"error", error.what()}};
  if (error.kind() == ErrorKind::kConfiguration) answer["missing"] = true;
  std::cout << Line(answer) << std::endl;
  return 1;
} catch (const std::exception& error) {
  std::cout << Line({{"error", error.what()}}) << std::endl;
  return 1;
}

}  // namespace bisparse::peers
