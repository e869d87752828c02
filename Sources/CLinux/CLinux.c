// Calls of Linux that Swift cannot see; the header says what each does.
#define _GNU_SOURCE
#include "CLinux.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

extern char **environ;

int clinux_pipe(int fds[2]) { return pipe2(fds, O_CLOEXEC | O_NONBLOCK); }

int clinux_eventfd(void) { return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK); }

// The arguments of main: the runtime reads them from /proc, which may not be mounted. glibc hands
// them to constructors too.
static int argument_count;
static char **arguments;

__attribute__((constructor)) static void keep_arguments(int argc, char **argv) {
  argument_count = argc;
  arguments = argv;
}

int clinux_argument_count(void) { return argument_count; }

const char *clinux_argument(int index) { return arguments[index]; }

// Opens a descriptor of the standard ones that is closed, such that its use is an error where
// `flags` is the opposite of that use. The lowest free number is taken, so they go in their order.
static void open_if_closed(int fd, int flags) {
  if (fcntl(fd, F_GETFD) != -1 || errno != EBADF) return;
  if (open("/dev/null", flags) == -1) open("/", O_RDONLY | O_DIRECTORY);
}

void clinux_settle(void) {
  open_if_closed(STDIN_FILENO, O_WRONLY);
  open_if_closed(STDOUT_FILENO, O_RDONLY);
  open_if_closed(STDERR_FILENO, O_WRONLY);
  signal(SIGPIPE, SIG_IGN);
  signal(SIGXFSZ, SIG_IGN);
  // Ignored, it would take a child's end from waitpid.
  signal(SIGCHLD, SIG_DFL);
}

// Whether a signal was set to be ignored by whoever started the program.
static bool is_ignored(int number) {
  struct sigaction action;
  return sigaction(number, NULL, &action) == 0 && action.sa_handler == SIG_IGN;
}

int clinux_signalfd(const int *signals, int count) {
  sigset_t set;
  sigemptyset(&set);
  for (int i = 0; i < count; i++)
    if (signals[i] == SIGTERM || !is_ignored(signals[i])) sigaddset(&set, signals[i]);
  int error = pthread_sigmask(SIG_BLOCK, &set, NULL);
  if (error != 0) {
    errno = error;
    return -1;
  }
  return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

int clinux_next_signal(int fd) {
  struct signalfd_siginfo info;
  return read(fd, &info, sizeof info) == sizeof info ? (int)info.ssi_signo : 0;
}

// Sets up and runs posix_spawn; returns an error number.
static int spawn(pid_t *pid, const char *path, char *const argv[], int lifeline,
                 posix_spawnattr_t *attributes, posix_spawn_file_actions_t *actions) {
  sigset_t none;
  sigemptyset(&none);
  // What the caller's caller ignores, HUP and INT, the child ignores too; what we ignore ourselves
  // is no business of the child's.
  sigset_t restored;
  sigemptyset(&restored);
  const int own[] = {SIGPIPE, SIGXFSZ, SIGTERM, SIGCHLD};
  for (size_t i = 0; i < sizeof own / sizeof own[0]; i++) sigaddset(&restored, own[i]);
  int error = posix_spawnattr_setsigmask(attributes, &none);
  if (error == 0) error = posix_spawnattr_setsigdefault(attributes, &restored);
  if (error == 0) error = posix_spawnattr_setpgroup(attributes, 0);
  if (error == 0)
    error = posix_spawnattr_setflags(
        attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
  if (error == 0) error = posix_spawn_file_actions_adddup2(actions, lifeline, 3);
  if (error == 0) error = posix_spawn(pid, path, actions, attributes, argv, environ);
  return error;
}

pid_t clinux_spawn(const char *path, char *const argv[], int lifeline) {
  posix_spawnattr_t attributes;
  posix_spawn_file_actions_t actions;
  pid_t pid = -1;
  int error = posix_spawnattr_init(&attributes);
  if (error == 0) {
    error = posix_spawn_file_actions_init(&actions);
    if (error == 0) {
      error = spawn(&pid, path, argv, lifeline, &attributes, &actions);
      posix_spawn_file_actions_destroy(&actions);
    }
    posix_spawnattr_destroy(&attributes);
  }
  if (error != 0) {
    errno = error;
    return -1;
  }
  return pid;
}

int clinux_pidfd_open(pid_t pid) { return (int)syscall(SYS_pidfd_open, pid, 0); }

int clinux_try_lock(int fd) { return flock(fd, LOCK_EX | LOCK_NB); }

int clinux_open_lock(int directory, const char *name) {
  // O_NONBLOCK: a FIFO of that name would otherwise make us wait for its other end.
  const int flags = O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
  return openat(directory, name, flags, 0600);
}

int clinux_open_directory(const char *path, bool follows_link) {
  const int flags = O_PATH | O_DIRECTORY | O_CLOEXEC;
  return open(path, follows_link ? flags : flags | O_NOFOLLOW);
}

int clinux_listener(int fd, uid_t *user, pid_t *process) {
  struct ucred peer;
  socklen_t size = sizeof peer;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return -1;
  *user = peer.uid;
  *process = peer.pid;
  return 0;
}

// The signals of a crash, and who reported them before us.
static const int crash_signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGABRT};
enum { CRASH_SIGNALS = sizeof crash_signals / sizeof crash_signals[0] };
static struct sigaction crash_reporters[CRASH_SIGNALS];

// Lets the reporter look at the process, which it does from another one, and nobody after it: the
// signal comes again when it returns, and ends the process.
static void report_crash(int number, siginfo_t *info, void *context) {
  prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
  for (int i = 0; i < CRASH_SIGNALS; i++) {
    if (crash_signals[i] == number) crash_reporters[i].sa_sigaction(number, info, context);
  }
  prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

int clinux_forbid_dumps(void) {
  const struct rlimit none = {0, 0};
  if (setrlimit(RLIMIT_CORE, &none) != 0) return -1;
  if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) return -1;
  for (int i = 0; i < CRASH_SIGNALS; i++) {
    struct sigaction action;
    if (sigaction(crash_signals[i], NULL, &action) != 0) return -1;
    // None, ignored, or not of the kind that is told of the cause.
    if ((action.sa_flags & SA_SIGINFO) == 0) continue;
    crash_reporters[i] = action;
    action.sa_sigaction = report_crash;
    if (sigaction(crash_signals[i], &action, NULL) != 0) return -1;
  }
  return 0;
}

int clinux_allowed_cpus(int *cpus, int capacity) {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) != 0) return -1;
  int count = 0;
  for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
    if (!CPU_ISSET(cpu, &set)) continue;
    if (count < capacity) cpus[count] = cpu;
    count++;
  }
  return count;
}

int clinux_raise_descriptor_limit(int most) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return -1;
  rlim_t wanted = limit.rlim_max < (rlim_t)most ? limit.rlim_max : (rlim_t)most;
  if (limit.rlim_cur < wanted) {
    limit.rlim_cur = wanted;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0 && getrlimit(RLIMIT_NOFILE, &limit) != 0) return -1;
  }
  return limit.rlim_cur < INT_MAX ? (int)limit.rlim_cur : INT_MAX;
}

uint64_t clinux_free_heap(void) { return mallinfo2().fordblks; }

void clinux_trim_heap(void) { malloc_trim(0); }

void clinux_set_name(const char *name) { pthread_setname_np(pthread_self(), name); }

int clinux_memory_file(const char *name) { return memfd_create(name, MFD_CLOEXEC); }

void clinux_release_range(int fd, int64_t offset, int64_t size) {
  fallocate(fd, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, offset, size);
}

// The kernel copies, so that an address where nothing is gives an error and no signal.
bool clinux_read_memory(uint64_t address, void *bytes, size_t size) {
  struct iovec own = {bytes, size}, other = {(void *)(uintptr_t)address, size};
  return process_vm_readv(getpid(), &own, 1, &other, 1, 0) == (ssize_t)size;
}

bool clinux_write_memory(uint64_t address, const void *bytes, size_t size) {
  struct iovec own = {(void *)(uintptr_t)bytes, size}, other = {(void *)(uintptr_t)address, size};
  return process_vm_writev(getpid(), &own, 1, &other, 1, 0) == (ssize_t)size;
}
