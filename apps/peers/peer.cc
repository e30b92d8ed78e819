// SPDX-License-Identifier: Apache-2.0
// The benchmark's end of a peer: a child process on a socket. Read first: peer.h.
#include "apps/peers/peer.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <csignal>
#include <cstring>
#include <nlohmann/json.hpp>

#include "deploy/base/check.h"

extern char** environ;

namespace bisparse::peers {
namespace {

// Loading LibTorch or building a session takes seconds; past this a peer hangs.
constexpr int kAnswerTimeoutMs = 120'000;

/// Our environment, with the peer's threads. Idle threads would spin into the turn of whoever comes
/// next: OpenMP's for 300,000 pauses (7 ms on a Zen 5), OpenBLAS's for 2^26 cycles (26 ms). With
/// 20,000 and 2^20 they sleep after 0.4 ms: less than the untimed start of a turn (turn.h), far
/// more than the gap between two parallel loops.
std::vector<std::string> Environment(int threads) {
  std::vector<std::string> environment = {
      fmt::format("OMP_NUM_THREADS={}", threads), "GOMP_SPINCOUNT=20000",
      fmt::format("OPENBLAS_NUM_THREADS={}", threads), "OPENBLAS_THREAD_TIMEOUT=20"};
  const size_t own = environment.size();
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string text = *entry;
    const std::string name = text.substr(0, text.find('=') + 1);
    bool replaced = false;
    for (size_t i = 0; i < own; ++i) replaced = replaced || environment[i].starts_with(name);
    if (!replaced) environment.push_back(text);
  }
  return environment;
}

std::vector<char*> Pointers(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

}  // namespace

Peer::Peer(const std::string& name, const std::vector<std::string>& argv, int threads)
    : name_(name) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
    Fail(ErrorKind::kData, name_, "no socket: {}", std::strerror(errno));
  }
  socket_ = ends[0];
  std::vector<std::string> arguments = argv, environment = Environment(threads);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, ends[1], STDIN_FILENO);
  ::posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  const int failure = ::posix_spawnp(&process_, arguments[0].c_str(), &actions, nullptr,
                                     Pointers(arguments).data(), Pointers(environment).data());
  ::posix_spawn_file_actions_destroy(&actions);
  ::close(ends[1]);
  try {
    if (failure != 0) {
      process_ = -1;
      Fail(failure == ENOENT ? ErrorKind::kConfiguration : ErrorKind::kData, name_, "{}: {}",
           argv[0], std::strerror(failure));
    }
    ReadValues();
  } catch (...) {
    Stop();
    throw;
  }
}

Peer::~Peer() { Stop(); }

void Peer::Stop() {
  ::close(socket_);
  if (process_ <= 0) return;
  ::kill(process_, SIGKILL);
  ::waitpid(process_, nullptr, 0);
}

std::vector<double> Peer::Run(int64_t call) { return Ask(fmt::format("run {}\n", call)); }

std::vector<double> Peer::TimeCalls(double budget_us) {
  return Ask(fmt::format("time {}\n", budget_us));
}

std::vector<double> Peer::Ask(const std::string& line) {
  // MSG_NOSIGNAL: a peer that died is an error of its own, not the end of the benchmark.
  if (::send(socket_, line.data(), line.size(), MSG_NOSIGNAL) !=
      static_cast<ssize_t>(line.size())) {
    Fail(ErrorKind::kData, name_, "does not listen: {}", std::strerror(errno));
  }
  return ReadValues();
}

std::vector<double> Peer::ReadValues() {
  size_t end = 0;
  while ((end = received_.find('\n')) == std::string::npos) {
    pollfd readable{socket_, POLLIN, 0};
    const int ready = ::poll(&readable, 1, kAnswerTimeoutMs);
    if (ready < 0 && errno == EINTR) continue;
    if (ready == 0) Fail(ErrorKind::kData, name_, "no answer in {} s", kAnswerTimeoutMs / 1000);
    char bytes[1 << 16];
    const ssize_t count = ::read(socket_, bytes, sizeof(bytes));
    if (count <= 0) Fail(ErrorKind::kData, name_, "ended without an answer");
    received_.append(bytes, static_cast<size_t>(count));
  }
  const auto answer = nlohmann::json::parse(received_.substr(0, end), nullptr, false);
  received_.erase(0, end + 1);
  const auto error = answer.find("error");  // end() of what is no object
  if (error != answer.end() && error->is_string()) {
    Fail(answer.contains("missing") ? ErrorKind::kConfiguration : ErrorKind::kData, name_, "{}",
         error->get<std::string>());
  }
  if (!answer.contains("values")) Fail(ErrorKind::kData, name_, "answered what is no JSON of ours");
  std::vector<double> values;
  for (const auto& value : answer["values"]) {  // JSON has no NaN: a null
    values.push_back(value.is_number() ? value.get<double>() : std::nan(""));
  }
  return values;
}

}  // namespace bisparse::peers
