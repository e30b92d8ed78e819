// SPDX-License-Identifier: Apache-2.0
// Read first: plot.h. A script and its output lie in a folder of their own while gnuplot runs.
#include "apps/support/plot.h"

#include <fmt/format.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <filesystem>

#include "deploy/base/check.h"
#include "deploy/base/file.h"

namespace bisparse::apps {
namespace {

namespace fs = std::filesystem;

/// In single quotes gnuplot takes every character for itself.
std::string Quoted(const std::string& text) {
  std::string quoted = "'";
  for (const char c : text) quoted += c == '\'' ? "''" : std::string(1, c == '\n' ? ' ' : c);
  return quoted + "'";
}

std::string Script(const std::vector<Panel>& panels, const std::string& output) {
  std::string script = fmt::format(
      "set terminal svg size 800,{} noenhanced background rgb 'white'\nset output {}\n"
      "set grid\nset key outside right\nset multiplot layout {},1\n",
      60 + 340 * panels.size(), Quoted(output), panels.size());
  for (const Panel& panel : panels) {
    script += fmt::format("set title {}\nset xlabel {}\nset ylabel {}\n", Quoted(panel.title),
                          Quoted(panel.x_label), Quoted(panel.y_label));
    std::string lines;
    for (size_t i = 0; i < panel.series.size(); ++i) {
      if (panel.series[i].points.empty()) continue;
      script += fmt::format("$series{} << EOD\n", i);
      for (const auto& [x, y] : panel.series[i].points) script += fmt::format("{} {}\n", x, y);
      script += "EOD\n";
      lines += fmt::format("{}$series{} with linespoints pointsize 0.4 linetype {} title {}",
                           lines.empty() ? "" : ", ", i, i + 1, Quoted(panel.series[i].title));
    }
    script += "plot " + lines + "\n";
  }
  return script + "unset multiplot\nunset output\n";
}

/// Exit status of `gnuplot FILE`.
int RunGnuplot(std::string file) {
  std::string program = "gnuplot";
  std::array<char*, 3> argv = {program.data(), file.data(), nullptr};
  pid_t child = 0;
  const int error = ::posix_spawnp(&child, "gnuplot", nullptr, nullptr, argv.data(), environ);
  if (error != 0) {
    Fail(ErrorKind::kConfiguration, "gnuplot",
         "cannot be started: {} (hint: plots need the package gnuplot-nox)",
         std::generic_category().message(error));
  }
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

}  // namespace

void WritePlot(const std::vector<Panel>& panels, const std::string& path) {
  std::string folder = (fs::temp_directory_path() / "bisparse-plot-XXXXXX").string();
  if (::mkdtemp(folder.data()) == nullptr) FailErrno(folder, "can't make the folder", errno);
  const auto draw = [&] {
    WriteFileAtomically(folder + "/script", Script(panels, folder + "/plot.svg"));
    const int status = RunGnuplot(folder + "/script");
    if (status != 0) {
      Fail(ErrorKind::kInternal, path, "gnuplot ended with {} (its message is above)", status);
    }
    WriteFileAtomically(path, ReadTextFile(folder + "/plot.svg"));
  };
  std::error_code ignored;
  try {
    draw();
  } catch (...) {
    fs::remove_all(folder, ignored);
    throw;
  }
  fs::remove_all(folder, ignored);
}

}  // namespace bisparse::apps
