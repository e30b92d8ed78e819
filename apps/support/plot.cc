// SPDX-License-Identifier: Apache-2.0
// Read first: plot.h. A script and its output lie in a folder of their own while gnuplot runs.
#include "apps/support/plot.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <system_error>

#include "deploy/base/check.h"
#include "deploy/base/file.h"
#include "deploy/base/show.h"
#include "deploy/base/temporary_folder.h"

namespace bisparse::apps {
namespace {

/// In single quotes gnuplot takes every character for itself, but not a line feed; control characters and what is no
/// UTF-8 would end up in the SVG.
std::string Quoted(const std::string& text) {
  std::string quoted = "'";
  for (const char c : Shown(text)) quoted += c == '\'' ? "''" : std::string(1, c);
  return quoted + "'";
}

std::string Script(const std::vector<Panel>& panels) {
  std::string script = fmt::format(
      "set encoding utf8\nset terminal svg size 800,{} noenhanced background rgb 'white'\n"
      "set grid\nset key outside right\nset multiplot layout {},1\n",
      60 + 340 * panels.size(), panels.size());
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
  return script + "unset multiplot\n";
}

/// Exit status of `gnuplot SCRIPT >OUTPUT`.
int RunGnuplot(std::string script, const std::string& output) {
  std::string program = "gnuplot";
  std::array<char*, 3> argv = {program.data(), script.data(), nullptr};
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, output.c_str(),
                                     O_WRONLY | O_CREAT | O_EXCL, 0600);
  pid_t child = 0;
  const int error = ::posix_spawnp(&child, "gnuplot", &actions, nullptr, argv.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  if (error != 0) {
    Fail(ErrorKind::kConfiguration, "gnuplot",
         "cannot be started: {} (hint: plots need the package gnuplot-nox)",
         std::generic_category().message(error));
  }
  int status = 0;
  while (::waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) FailErrno("gnuplot", "its end is not known", errno);
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

}  // namespace

void WritePlot(const std::vector<Panel>& panels, const std::string& path) {
  const TemporaryFolder folder;
  WriteFileAtomically(folder / "script", Script(panels));
  const int status = RunGnuplot(folder / "script", folder / "plot.svg");
  if (status != 0) {
    Fail(ErrorKind::kData, path, "gnuplot ended with {} (its message is above; hint: is {} full?)",
         status, folder.path());
  }
  WriteFileAtomically(path, ReadTextFile(folder / "plot.svg"));
}

}  // namespace bisparse::apps
