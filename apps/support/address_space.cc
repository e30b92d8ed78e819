// SPDX-License-Identifier: Apache-2.0
// For programs that load LibTorch where the address space is limited (`ulimit -v`): says "out of memory" before the
// libraries are initialised. They cannot: LibTorch's static initialisers end in std::terminate, and OpenBLAS, which
// takes 128 MiB for each thread, asks for it again for ever (OpenBLAS issue 5289), also in threads that the program's
// end waits for. Tested in: tests/resume_kill.
#include <sched.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstddef>
#include <cstring>
#include <initializer_list>

namespace {

// AddressSanitizer and ThreadSanitizer are not initialised yet either, and take the whole address space.
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)

constexpr size_t kMiB = size_t{1} << 20;
constexpr size_t kThreadBytes = (128 + 8) * kMiB;  // OpenBLAS's buffer, the stack
constexpr size_t kOwnBytes =
    128 * kMiB;  // what LibTorch registers at its start (50 MB), and a small network

/// Only system calls: not even the C library is initialised.
void RequireAddressSpace(int, char** argv, char**) {
  struct rlimit limit;
  if (::getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return;
  cpu_set_t cores;
  const size_t threads = ::sched_getaffinity(0, sizeof cores, &cores) == 0
                             ? static_cast<size_t>(CPU_COUNT(&cores))
                             : 1;
  const size_t bytes = threads * kThreadBytes + kOwnBytes;
  void* const probe =
      ::mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (probe != MAP_FAILED) {
    ::munmap(probe, bytes);
    return;
  }
  const char* const slash = std::strrchr(argv[0], '/');
  const char* const program = slash == nullptr ? argv[0] : slash + 1;
  constexpr char kMessage[] =
      ": out of memory: the limit on address space is too low for LibTorch on this many cores "
      "(hint: raise `ulimit -v`, or use fewer cores with taskset)\n";
  for (const char* part : {program, kMessage}) {
    if (::write(STDERR_FILENO, part, std::strlen(part)) < 0) break;
  }
  ::_exit(1);
}

__attribute__((section(".preinit_array"),
               used)) void (*const require_address_space)(int, char**,
                                                          char**) = &RequireAddressSpace;

#endif

}  // namespace
