// SPDX-License-Identifier: Apache-2.0
// Read first: program.h. Tested in: tests/programs.
#include "apps/support/program.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cmath>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <new>
#include <nlohmann/json.hpp>
#include <sstream>
#include <stdexcept>
#include <system_error>
#include <type_traits>

#include "deploy/base/check.h"
#include "deploy/base/file.h"
#include "deploy/base/print.h"
#include "deploy/base/show.h"

namespace bisparse::apps {
namespace {

int ExitCode(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::kConfiguration:
      return 2;
    case ErrorKind::kData:
      return 3;
    case ErrorKind::kInternal:
      return 1;
  }
  return 1;
}

/// open() takes the lowest number that is free: upwards, each call fills the stream that is missing.
void OpenMissingStreams() {
  constexpr int kFlags[] = {O_RDONLY, O_RDONLY,
                            O_WRONLY};  // writing results to a closed stdout must fail
  for (int stream = STDIN_FILENO; stream <= STDERR_FILENO; ++stream) {
    if (::fcntl(stream, F_GETFD) < 0 && errno == EBADF) ::open("/dev/null", kFlags[stream]);
  }
}

void Handle(int signal, void (*handler)(int)) {
  struct sigaction action = {};
  if (::sigaction(signal, nullptr, &action) != 0 || action.sa_handler == SIG_IGN) return;
  action = {};
  action.sa_handler = handler;
  action.sa_flags = SA_RESTART;
  ::sigaction(signal, &action, nullptr);
}

/// Unlike SIG_IGN a handler does not reach the programs that we start.
void DoNothing(int) {}

template <typename Number>
bool IsNumber(std::string_view text) {
  if (text.starts_with('+')) text.remove_prefix(1);
  const std::string_view digits = text.substr(text.starts_with('-') ? 1 : 0);
  if constexpr (std::is_integral_v<Number>) {  // 010 would be 8
    if (digits.size() > 1 && digits[0] == '0') return false;
  }
  Number value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return false;
  if constexpr (std::is_floating_point_v<Number>) return std::isfinite(value);
  return true;
}

/// CLI11 lets NaN through a range, takes -1 for 2^64 - 1, and takes what overflows for the largest number.
void CheckValues(const CLI::App& app) {
  for (const CLI::Option* option : app.get_options()) {
    const std::string type = option->get_type_name();
    for (const std::string& value : option->results()) {
      const char* wanted =
          value.empty()                                            ? "a value"
          : type.starts_with("FLOAT") && !IsNumber<double>(value)  ? "a finite number"
          : type.starts_with("INT") && !IsNumber<int64_t>(value)   ? "a whole number"
          : type.starts_with("UINT") && !IsNumber<uint64_t>(value) ? "a whole number, 0 or more"
                                                                   : nullptr;
      if (wanted == nullptr) continue;
      Fail(ErrorKind::kConfiguration, "flags", "{}: '{}' is not {} (hint: {} --help)",
           option->get_name(), value, wanted, app.get_name());
    }
  }
}

/// False: the flags asked for a text (--help, --version) and have got it.
bool ParseFlags(CLI::App& app, int argc, char** argv) {
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() != 0) {
      Fail(ErrorKind::kConfiguration, "flags", "{} (hint: {} --help)", error.what(),
           app.get_name());
    }
    std::ostringstream text;
    app.exit(error, text, text);
    WriteResult(text.str());
    return false;
  }
  CheckValues(app);
  return true;
}

std::pair<std::string, int> OutOfThreads() {
  return {"out of threads (hint: fewer of them, or raise `ulimit -u` and `ulimit -v`)", 1};
}

/// What to print for the exception that is being handled, and the exit code. Out of memory is not here: it must not ask
/// for more.
std::pair<std::string, int> Describe() {
  const auto described = [](const Error& error) {
    return std::pair(std::string(error.what()), ExitCode(error.kind()));
  };
  try {
    throw;
  } catch (const Error& error) {
    return described(error);
  } catch (const std::filesystem::filesystem_error& error) {
    return described(ErrnoError(error.path1().string(), "cannot be used", error.code().value()));
  } catch (const std::system_error& error) {
    if (error.code() == std::errc::resource_unavailable_try_again) {
      return OutOfThreads();
    }
    return described(Error(ErrorKind::kData, "system", error.what()));
  } catch (const nlohmann::json::exception& error) {
    return described(Error(ErrorKind::kData, "JSON", error.what()));
  } catch (const CLI::Error& error) {
    return described(Error(ErrorKind::kConfiguration, "flags", error.what()));
  } catch (const std::exception& error) {
    const std::string text = error.what();  // LibTorch's goes on with a stack trace
    if (text.find("pthread_create has failed") != std::string::npos)
      return OutOfThreads();  // TBB's
    return {"internal error: " + text.substr(0, text.find('\n')), 1};
  } catch (...) {
    return {"internal error: an exception of an unknown type", 1};
  }
}

/// "-" is stdout, as an output; a device is no file that could be lost.
bool IsSameFile(const std::string& a, const std::string& b) {
  if (a.empty() || b.empty()) return false;
  if (a == "-" || b == "-") return a == b;
  std::error_code error;
  if (std::filesystem::equivalent(a, b, error)) return std::filesystem::is_regular_file(a, error);
  // Neither is there yet, or one is a link to what is not there.
  const auto whole = [](const std::string& path) {
    std::error_code ignored;
    return std::filesystem::weakly_canonical(std::filesystem::absolute(path, ignored), ignored);
  };
  const std::filesystem::path whole_a = whole(a);
  return !std::filesystem::exists(whole_a, error) && !whole_a.empty() && whole_a == whole(b);
}

int OutOfMemory(const std::string& program) {
  std::fprintf(stderr,
               "%s: out of memory (hint: a smaller batch or network, or a higher `ulimit -v`)\n",
               program.c_str());
  return 1;
}

}  // namespace

std::string Footer(const std::string& example) {
  return "Example:\n  " + example +
         "\n\nExit codes: 0 done, 1 internal error, 2 configuration or flags, 3 data or file, "
         "130 stopped by a signal.\nWhere memory or threads run out it is 1; where results cannot "
         "be written, 3.";
}

void AddTextFlag(CLI::App& app, const std::string& flag, std::string (*text)(),
                 const std::string& help) {
  const auto print = [text] {
    WriteResult(text());
    throw CLI::Success();
  };
  app.add_flag_callback(flag, print, help);
}

void RequireOutputs(const std::vector<NamedPath>& outputs, const std::vector<NamedPath>& inputs) {
  for (size_t i = 0; i < outputs.size(); ++i) {
    const auto& [flag, path] = outputs[i];
    if (path.empty()) continue;
    for (const NamedPath& input : inputs) {
      if (path == "-" || !IsSameFile(path, input.path)) continue;
      Fail(ErrorKind::kConfiguration, flag, "{} would replace what {} reads (hint: another name)",
           Shown(path), input.flag);
    }
    for (size_t k = 0; k < i; ++k) {
      if (!IsSameFile(path, outputs[k].path)) continue;
      Fail(ErrorKind::kConfiguration, flag, "{} is the output of {} too (hint: another name)",
           path == "-" ? "stdout" : Shown(path), outputs[k].flag);
    }
    if (path != "-") RequireWritable(path);
  }
}

void OnStopSignals(void (*handler)(int signal)) {
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) Handle(signal, handler);
}

int RunProgram(CLI::App& app, int argc, char** argv, const std::function<int()>& body) {
  const std::string name = app.get_name();
  OpenMissingStreams();
  for (const int signal : {SIGPIPE, SIGXFSZ}) Handle(signal, DoNothing);
  try {
    try {
      app.set_version_flag("--version", "bisparse " BISPARSE_VERSION);
      const int code = ParseFlags(app, argc, argv) ? body() : 0;
      FlushResults();  // a full disk shows when the last of the output leaves its buffer
      return code;
    } catch (const std::bad_alloc&) {
      return OutOfMemory(name);
    } catch (const std::length_error&) {  // more elements than any memory holds
      return OutOfMemory(name);
    } catch (...) {
      const auto [text, code] = Describe();
      PrintRemark(stderr, "{}: {}\n", name, text);
      return code;
    }
  } catch (const std::bad_alloc&) {  // for the message
    return OutOfMemory(name);
  }
}

}  // namespace bisparse::apps
