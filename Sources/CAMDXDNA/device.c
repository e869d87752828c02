// The system calls of a driver's node.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "CAMDXDNA.h"

int amdxdna_open(const char *path, int *descriptor) {
  *descriptor = open(path, O_RDWR | O_CLOEXEC);
  return *descriptor < 0 ? errno : 0;
}

int amdxdna_request(int descriptor, uint32_t request, void *argument) {
  while (ioctl(descriptor, (unsigned long)request, argument) != 0) {
    if (errno != EINTR) return errno;
  }
  return 0;
}

int amdxdna_map(int descriptor, uint64_t offset, size_t size, size_t alignment, void **address) {
  // Room for an aligned part, which the mapping then takes; what lies around it is given back.
  size_t room = size + alignment;
  char *base = mmap(NULL, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (base == MAP_FAILED) return errno;
  char *place = (char *)(((uintptr_t)base + alignment - 1) & ~(uintptr_t)(alignment - 1));
  void *mapped = mmap(place, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, descriptor, (off_t)offset);
  if (mapped == MAP_FAILED) {
    int error = errno;
    munmap(base, room);
    return error;
  }
  if (place > base) munmap(base, (size_t)(place - base));
  char *end = place + size;
  if (end < base + room) munmap(end, (size_t)(base + room - end));
  *address = mapped;
  return 0;
}
