// SPDX-License-Identifier: Apache-2.0
// The program bisparse-train, killed with SIGKILL at random moments and resumed each time, ends
// with the weights of a run that was left alone, bit for bit (CPU, the same number of threads).
// SIGTERM ends it in order with exit code 130.
#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <filesystem>
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

constexpr int kSamples = 1200;

/// A folder with data and configuration; runs go beside them.
class ResumeKill : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fmt::format("{}resume_kill_{}", testing::TempDir(), ::getpid());
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
name: killed
data: {{type: npy, train_x: {0}/x.npy, train_y: {0}/y.npy, input: [8, 8, 1], class_names: [a, b, c]}}
train: {{epochs: 12, batch_size: 16, threads: 2, workers: 1, device: cpu, kernels: packed}}
network:
  - conv2d: {{channels: 16, kernel: 3, packing: {{set_size: 2, lanes: 2}}}}
  - batch_norm
  - kwta: {{winners: 2, winners_start: 4, groups: 2, boost: {{strength: 1.0}}}}
  - flatten
  - linear: {{units: 64, packing: {{set_size: 4, lanes: 4, owners: learned, learning: {{update_steps: 3, freeze_at: 0.5}}}}}}
  - batch_norm
  - kwta: {{winners: 12, scope: global}}
  - dropout: {{probability: 0.2}}
  - linear: {{units: classes}}
)",
                                                   folder_));
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::string config_path() const { return folder_ + "/config.yaml"; }

  pid_t Start(const std::string& run) const {
    const std::string out = folder_ + "/" + run;
    const pid_t pid = ::fork();
    if (pid == 0) {
      const int log = ::open((folder_ + "/log.txt").c_str(), O_WRONLY | O_CREAT | O_APPEND, 0666);
      ::dup2(log, STDOUT_FILENO);
      ::dup2(log, STDERR_FILENO);
      ::execl(BISPARSE_TRAIN_PROGRAM, BISPARSE_TRAIN_PROGRAM, config_path().c_str(), "--out",
              out.c_str(), "--resume", nullptr);
      ::_exit(127);
    }
    return pid;
  }
  /// Exit code, or minus the signal that ended it.
  static int Wait(pid_t pid) {
    int status = 0;
    ::waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }
  std::string Log() const { return ReadTextFile(folder_ + "/log.txt"); }

  Progress Load(const std::string& run, std::vector<torch::Tensor>& state) const {
    const Config config = LoadConfig(config_path());
    Network network(config.network, config.seed);
    const Progress progress =
        LoadCheckpoint(RunPaths(folder_ + "/" + run).last(), network, nullptr);
    for (const torch::Tensor& tensor : network->parameters()) state.push_back(tensor.detach());
    for (const torch::Tensor& tensor : network->buffers()) state.push_back(tensor);
    return progress;
  }
  void ExpectSameRuns(const std::string& a, const std::string& b) const {
    std::vector<torch::Tensor> state_a, state_b;
    const Progress progress_a = Load(a, state_a), progress_b = Load(b, state_b);
    ASSERT_EQ(state_a.size(), state_b.size());
    for (size_t i = 0; i < state_a.size(); ++i) {
      const torch::Tensor x = state_a[i].contiguous(), y = state_b[i].contiguous();
      ASSERT_EQ(x.sizes(), y.sizes());
      EXPECT_EQ(std::memcmp(x.data_ptr(), y.data_ptr(), x.nbytes()), 0) << "tensor " << i;
    }
    ASSERT_EQ(progress_a.history.size(), progress_b.history.size());
    for (size_t e = 0; e < progress_a.history.size(); ++e) {
      EXPECT_EQ(progress_a.history[e].train_loss, progress_b.history[e].train_loss) << e;
    }
  }

  std::string folder_;
};

TEST_F(ResumeKill, KilledAtRandomMomentsGivesTheSameBits) {
  const Clock::time_point start = Clock::now();
  ASSERT_EQ(Wait(Start("whole")), 0) << Log();
  const auto whole = std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - start);

  const uint64_t seed = static_cast<uint64_t>(::getpid());
  CounterRandom random(seed, {});
  SCOPED_TRACE(fmt::format("seed {}", seed));
  int kills = 0;
  for (int trial = 0; trial < 8; ++trial) {
    const pid_t pid = Start("killed");
    // The first early, so that one kill lands even if the machine was busy only while `whole` was timed.
    std::this_thread::sleep_for(whole * (trial == 0 ? 0.1 : 0.1 + 0.7 * random.Uniform()));
    ::kill(pid, SIGKILL);
    kills += Wait(pid) == -SIGKILL;
  }
  ASSERT_EQ(Wait(Start("killed")), 0) << Log();
  EXPECT_GE(kills, 1) << "every trial ended before its kill";
  ExpectSameRuns("whole", "killed");
}

TEST_F(ResumeKill, SigtermEndsInOrderAndResumes) {
  ASSERT_EQ(Wait(Start("whole")), 0) << Log();
  const pid_t pid = Start("stopped");
  const std::string last = folder_ + "/stopped/last.pt";
  while (!fs::exists(last) && ::waitpid(pid, nullptr, WNOHANG) == 0) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  ::kill(pid, SIGTERM);
  EXPECT_EQ(Wait(pid), 130) << Log();
  EXPECT_THAT(Log(), testing::HasSubstr("--resume"));
  ASSERT_EQ(Wait(Start("stopped")), 0) << Log();
  ExpectSameRuns("whole", "stopped");
}

}  // namespace
}  // namespace bisparse::train
