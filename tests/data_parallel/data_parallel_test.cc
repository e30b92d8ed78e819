// SPDX-License-Identifier: Apache-2.0
// The program bisparse-train as two processes on the loopback: the weights of one process with the
// joint batch, within rounding; a killed process ends the other in bounded time with a message, and
// both go on with --resume.
#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <thread>

#include "deploy/base/file.h"
#include "deploy/base/random.h"
#include "tests/resume_kill/write_npy.h"
#include "train/config/load.h"
#include "train/loop/checkpoint.h"
#include "train/loop/run_folder.h"

namespace bisparse::train {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;
using testing::HasSubstr;

constexpr int kSamples = 330;  // an incomplete batch at the end is dropped; shares of 8 and 8

/// A port that was free a moment ago.
int FreePort() {
  const int socket = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ::bind(socket, reinterpret_cast<sockaddr*>(&address), sizeof address);
  socklen_t size = sizeof address;
  ::getsockname(socket, reinterpret_cast<sockaddr*>(&address), &size);
  ::close(socket);
  return ntohs(address.sin_port);
}

class DataParallel : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fmt::format("{}data_parallel_{}", testing::TempDir(), ::getpid());
    fs::remove_all(folder_);
    fs::create_directories(folder_);
    CounterRandom random(3, {});
    std::vector<float> x_bhw(kSamples * 64);
    std::vector<int64_t> y_b(kSamples);
    for (int b = 0; b < kSamples; ++b) {
      y_b[b] = b % 3;
      for (int i = 0; i < 64; ++i) {
        x_bhw[b * 64 + i] = random.Normal() + (i / 16 == y_b[b] ? 1.0f : 0.0f);
      }
    }
    WriteNpy(folder_ + "/x.npy", "<f4", fmt::format("({}, 8, 8)", kSamples), x_bhw);
    WriteNpy(folder_ + "/y.npy", "<i8", fmt::format("({},)", kSamples), y_b);
    WriteFileAtomically(config_path(), fmt::format(R"(
name: joint
data: {{type: npy, train_x: {0}/x.npy, train_y: {0}/y.npy, input: [8, 8, 1], class_names: [a, b, c]}}
train: {{epochs: 2, batch_size: 16, optimiser: {{kind: sgd}}, learning_rate: 0.02, ema_decay: 0.9, threads: 1, device: cpu, kernels: packed, worker_timeout_s: 20}}
network:
  - conv2d: {{channels: 16, kernel: 3, packing: {{set_size: 2, lanes: 2}}}}
  - batch_norm
  - kwta: {{winners: 2, winners_start: 4, groups: 2, boost: {{strength: 1.0}}}}
  - flatten
  - linear: {{units: 64, packing: {{set_size: 4, lanes: 4, owners: learned}}}}
  - batch_norm
  - kwta: {{winners: 12, scope: global}}
  - linear: {{units: classes}}
)",
                                                   folder_));
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::string config_path() const { return folder_ + "/config.yaml"; }
  std::string LogPath(int rank) const { return fmt::format("{}/log{}.txt", folder_, rank); }
  std::string Log(int rank) const { return ReadTextFile(LogPath(rank)); }

  /// rank -1: alone.
  pid_t Start(const std::string& run, int rank, int port, int epochs) const {
    const std::string out = folder_ + "/" + run, count = std::to_string(epochs);
    const pid_t pid = ::fork();
    if (pid != 0) return pid;
    const int log = ::open(LogPath(std::max(rank, 0)).c_str(), O_WRONLY | O_CREAT | O_APPEND, 0666);
    ::dup2(log, STDOUT_FILENO);
    ::dup2(log, STDERR_FILENO);
    if (rank >= 0) {
      ::setenv("WORLD_SIZE", "2", 1);
      ::setenv("RANK", std::to_string(rank).c_str(), 1);
      ::setenv("MASTER_ADDR", "127.0.0.1", 1);
      ::setenv("MASTER_PORT", std::to_string(port).c_str(), 1);
    }
    ::execl(BISPARSE_TRAIN_PROGRAM, BISPARSE_TRAIN_PROGRAM, config_path().c_str(), "--out",
            out.c_str(), "--resume", "--epochs", count.c_str(), nullptr);
    ::_exit(127);
  }
  /// Exit code, or minus the signal that ended it; -1000 if it is still there after `seconds`.
  static int Wait(pid_t pid, double seconds) {
    const auto end = Clock::now() + std::chrono::duration<double>(seconds);
    int status = 0;
    while (::waitpid(pid, &status, WNOHANG) == 0) {
      if (Clock::now() > end) {
        ::kill(pid, SIGKILL);
        ::waitpid(pid, &status, 0);
        return -1000;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }

  Network Load(const std::string& run) const {
    const Config config = LoadConfig(config_path());
    Network network(config.network, config.seed);
    LoadCheckpoint(RunPaths(folder_ + "/" + run).last(), network, nullptr);
    return network;
  }

  std::string folder_;
};

TEST_F(DataParallel, TwoProcessesGiveTheWeightsOfOneWithTheJointBatch) {
  ASSERT_EQ(Wait(Start("alone", -1, 0, 2), 120), 0) << Log(0);
  const int port = FreePort();
  const pid_t leader = Start("joint", 0, port, 2), other = Start("joint", 1, port, 2);
  EXPECT_EQ(Wait(leader, 120), 0) << Log(0);
  EXPECT_EQ(Wait(other, 120), 0) << Log(1);
  const Network alone = Load("alone"), joint = Load("joint");
  const auto compare = [](const auto& a, const auto& b) {
    for (const auto& entry : a) {
      const torch::Tensor& theirs = b[entry.key()];
      if (!entry.value().is_floating_point()) {
        EXPECT_TRUE(torch::equal(entry.value(), theirs)) << entry.key();
        continue;
      }
      // 40 steps of rounding; the weights are of order 0.1 and move by as much.
      EXPECT_TRUE(torch::allclose(entry.value(), theirs, 1e-4, 1e-4))
          << entry.key() << ": " << (entry.value() - theirs).abs().max().template item<float>();
    }
  };
  compare(alone->named_parameters(), joint->named_parameters());
  compare(alone->named_buffers(), joint->named_buffers());
  const auto summary = [&](const std::string& run) {
    return nlohmann::json::parse(ReadTextFile(RunPaths(folder_ + "/" + run).summary()));
  };
  EXPECT_EQ(summary("alone")["validation_accuracy"], summary("joint")["validation_accuracy"]);
  EXPECT_EQ(Log(1), "") << "the leader alone prints";
}

TEST_F(DataParallel, AKilledProcessEndsTheOtherAndBothResume) {
  int port = FreePort();
  const pid_t leader = Start("killed", 0, port, 2000), other = Start("killed", 1, port, 2000);
  const RunPaths paths(folder_ + "/killed");
  for (int i = 0; i < 3000 && !fs::exists(paths.metrics()); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  ASSERT_TRUE(fs::exists(paths.metrics())) << Log(0);
  ::kill(other, SIGKILL);
  EXPECT_EQ(Wait(other, 5), -SIGKILL);
  EXPECT_EQ(Wait(leader, 30), 3) << Log(0);
  EXPECT_THAT(Log(0),
              testing::AllOf(HasSubstr("process 0 of 2 lost the others"), HasSubstr("--resume")));
  Network network = Load("killed");
  const Config config = LoadConfig(config_path());
  const int64_t done = LoadCheckpoint(paths.last(), network, nullptr).epoch;  // the file is whole
  const int epochs = static_cast<int>(done) + 2;
  // A run is resumed with its own settings: the number of epochs is one of them.
  std::string text = ReadTextFile(paths.config());
  const size_t at = text.find("epochs: 2000");
  ASSERT_NE(at, std::string::npos);
  text.replace(at, 12, fmt::format("epochs: {}", epochs));
  WriteFileAtomically(paths.config(), text);
  port = FreePort();
  const pid_t leader_again = Start("killed", 0, port, epochs),
              other_again = Start("killed", 1, port, epochs);
  EXPECT_EQ(Wait(leader_again, 120), 0) << Log(0);
  EXPECT_EQ(Wait(other_again, 120), 0) << Log(1);
  EXPECT_EQ(nlohmann::json::parse(ReadTextFile(paths.summary()))["finished"], true);
}

TEST_F(DataParallel, AProcessAloneGivesUp) {
  WriteFileAtomically(config_path(),
                      ReadTextFile(config_path())
                          .replace(ReadTextFile(config_path()).find("worker_timeout_s: 20"), 20,
                                   "worker_timeout_s: 2"));
  EXPECT_EQ(Wait(Start("lonely", 0, FreePort(), 2), 30), 3) << Log(0);
  EXPECT_THAT(Log(0), HasSubstr("process 0 of 2 found no company"));
}

}  // namespace
}  // namespace bisparse::train
