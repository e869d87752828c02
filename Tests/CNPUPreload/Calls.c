// The calls of the C library that the library stands before. Each makes the system call itself.
#define _GNU_SOURCE
// The names with 64 are functions of their own here, and fortified forms would be defined twice.
#undef _FORTIFY_SOURCE
#undef _FILE_OFFSET_BITS
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "CNPUPreload.h"
#include "Preload.h"

// --- Paths -----------------------------------------------------------------------------------------

static const char node[] = "/dev/accel/accel0";
static const char nodes[] = "/dev/accel/accel";
static const char devices[] = "/sys/class/accel/accel";

static bool begins_with(const char *text, const char *beginning) {
  return strncmp(text, beginning, strlen(beginning)) == 0;
}

// What sysfs tells of the device, or NULL.
static const char *contents(const char *path) {
  if (strcmp(path, "/sys/class/accel/accel0/device/vendor") == 0) return "0x1022\n";
  if (strcmp(path, "/sys/class/accel/accel0/device/device") == 0) return "0x1502\n";
  return NULL;
}

// Whether a path is of the class that the device is of: the machine's own devices are not to be seen.
static bool is_of_class(const char *path) {
  return begins_with(path, nodes) || begins_with(path, devices);
}

// A path that stands for one of ours when it is only looked at; another, or NULL, as it is.
static const char *looked_at(const char *path) {
  if (path == NULL || !preload_is_on()) return path;
  if (strcmp(path, node) == 0 || contents(path) != NULL) return "/dev/null";
  if (strcmp(path, "/sys/module/amdxdna") == 0 || strcmp(path, "/sys/class/accel/accel0") == 0) {
    return "/";
  }
  return is_of_class(path) ? "/dev/accel/none" : path;
}

static int open_text(const char *text) {
  int fd = memfd_create("npu-fake-text", MFD_CLOEXEC);
  if (fd < 0) return -1;
  if (write(fd, text, strlen(text)) < 0 || lseek(fd, 0, SEEK_SET) != 0) {
    close(fd);
    return -1;
  }
  return fd;
}

static int open_path(int directory, const char *path, int flags, mode_t mode) {
  if (path != NULL && preload_is_on()) {
    if (strcmp(path, node) == 0) return preload_open(flags);
    if (contents(path) != NULL) return open_text(contents(path));
    if (is_of_class(path)) {
      errno = ENOENT;
      return -1;
    }
  }
  return (int)syscall(SYS_openat, directory, path, flags, mode);
}

// --- Opening and closing ---------------------------------------------------------------------------

// The third argument of open is there only if a file may be made.
#define OPEN(directory, path, flags)                     \
  do {                                                   \
    mode_t mode = 0;                                     \
    if ((flags) & (O_CREAT | __O_TMPFILE)) {             \
      va_list rest;                                      \
      va_start(rest, flags);                             \
      mode = va_arg(rest, mode_t);                       \
      va_end(rest);                                      \
    }                                                    \
    return open_path((directory), (path), (flags), mode); \
  } while (0)

int open(const char *path, int flags, ...) { OPEN(AT_FDCWD, path, flags); }
int open64(const char *path, int flags, ...) { OPEN(AT_FDCWD, path, flags); }
int openat(int directory, const char *path, int flags, ...) { OPEN(directory, path, flags); }
int openat64(int directory, const char *path, int flags, ...) { OPEN(directory, path, flags); }

// What programs that were compiled with _FORTIFY_SOURCE call.
int __open_2(const char *path, int flags) { return open_path(AT_FDCWD, path, flags, 0); }
int __open64_2(const char *path, int flags) { return open_path(AT_FDCWD, path, flags, 0); }

int close(int fd) {
  preload_forget(fd);
  return (int)syscall(SYS_close, fd);
}

// --- The node --------------------------------------------------------------------------------------

int ioctl(int fd, unsigned long request, ...) {
  va_list rest;
  va_start(rest, request);
  void *argument = va_arg(rest, void *);
  va_end(rest);
  int place = preload_find(fd);
  if (place < 0) return (int)syscall(SYS_ioctl, fd, request, argument);
  int error = preload_request(place, (uint32_t)request, (uintptr_t)argument);
  if (error == 0) return 0;
  errno = error;
  return -1;
}

void *mmap(void *address, size_t size, int protection, int flags, int fd, off_t offset) {
  long mapped = syscall(SYS_mmap, address, size, protection, flags, fd, offset);
  if (mapped == -1) return MAP_FAILED;
  int place = flags & MAP_ANONYMOUS ? -1 : preload_find(fd);
  if (place >= 0) preload_mapped(place, (uint64_t)offset, size, (void *)mapped);
  return (void *)mapped;
}

void *mmap64(void *address, size_t size, int protection, int flags, int fd, off64_t offset) {
  return mmap(address, size, protection, flags, fd, offset);
}

int munmap(void *address, size_t size) {
  preload_unmapped(address);
  return (int)syscall(SYS_munmap, address, size);
}

// --- Looking ---------------------------------------------------------------------------------------

int access(const char *path, int mode) {
  return (int)syscall(SYS_faccessat, AT_FDCWD, looked_at(path), mode);
}

int stat(const char *restrict path, struct stat *restrict result) {
  return fstatat(AT_FDCWD, looked_at(path), result, 0);
}

int lstat(const char *restrict path, struct stat *restrict result) {
  return fstatat(AT_FDCWD, looked_at(path), result, AT_SYMLINK_NOFOLLOW);
}
