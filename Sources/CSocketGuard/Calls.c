// The calls of the C library that the guard stands before. Each makes the system call itself.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "CSocketGuard.h"
#include "Guard.h"

// A descriptor to give up for a moment, so that a caller can be taken and turned away although the
// process has no other left. Otherwise it would stay in the queue, and its socket ready for ever.
static _Atomic int reserve = -1;
static pthread_mutex_t reserve_lock = PTHREAD_MUTEX_INITIALIZER;

static bool is_scarcity(int error) {
  return error == EMFILE || error == ENFILE || error == ENOMEM || error == ENOBUFS;
}

// A pause before a call that failed for want of memory is made again: an event loop would spin.
static void pause_briefly(void) {
  struct timespec millisecond = {.tv_nsec = 1000000};
  nanosleep(&millisecond, NULL);
}

static int close_now(int fd) { return (int)syscall(SYS_close, fd); }

static int accept_now(int fd, struct sockaddr *address, socklen_t *size, int flags) {
  return (int)syscall(SYS_accept4, fd, address, size, flags);
}

static void keep_reserve(void) {
  if (reserve < 0) reserve = (int)syscall(SYS_eventfd2, 0, EFD_CLOEXEC);
}

static void turn_away(int fd) {
  atomic_fetch_add(&guard_exhausted, 1);
  pthread_mutex_lock(&reserve_lock);
  struct pollfd item = {.fd = fd, .events = POLLIN};
  struct timespec no_time = {0};
  if (reserve >= 0 && syscall(SYS_ppoll, &item, 1, &no_time, NULL, 0) == 1) {
    close_now(reserve);
    reserve = -1;
    int caller = accept_now(fd, NULL, NULL, SOCK_CLOEXEC);
    if (caller >= 0) close_now(caller);
  }
  keep_reserve();
  pthread_mutex_unlock(&reserve_lock);
  pause_briefly();
}

int accept4(int fd, __SOCKADDR_ARG address, socklen_t *restrict size, int flags) {
  if (reserve < 0) {
    pthread_mutex_lock(&reserve_lock);
    keep_reserve();
    pthread_mutex_unlock(&reserve_lock);
  }
  int connection = accept_now(fd, address.__sockaddr__, size, flags);
  if (connection < 0) {
    if (!is_scarcity(errno)) return -1;
    turn_away(fd);
  } else {
    if (guard_admit(connection)) return connection;
    close_now(connection);
  }
  errno = EAGAIN;
  return -1;
}

int accept(int fd, __SOCKADDR_ARG address, socklen_t *restrict size) {
  return accept4(fd, address, size, 0);
}

int connect(int fd, __CONST_SOCKADDR_ARG address, socklen_t size) {
  const struct sockaddr *to = address.__sockaddr__;
  bool is_ours = to != NULL && size >= sizeof to->sa_family &&
                 (to->sa_family == AF_UNIX || to->sa_family == AF_INET || to->sa_family == AF_INET6);
  if (is_ours) guard_watch(fd, STATE_CONNECTED);
  return (int)syscall(SYS_connect, fd, to, size);
}

int close(int fd) {
  guard_forget(fd);
  return close_now(fd);
}

ssize_t recv(int fd, void *bytes, size_t size, int flags) {
  ssize_t count = syscall(SYS_recvfrom, fd, bytes, size, flags, NULL, NULL);
  if (count < 0 && is_scarcity(errno)) {
    pause_briefly();
    errno = EAGAIN;
  }
  if (count <= 0 || (flags & MSG_PEEK)) return count;
  struct connection *connection = guard_find(fd);
  if (connection == NULL) return count;
  if (!guard_listen(connection, bytes, (size_t)count)) {
    atomic_store(&connection->is_cut, true);
    shutdown(fd, SHUT_RDWR);
  }
  // As if the peer had gone: libzmq closes the connection and drops the message.
  return atomic_load_explicit(&connection->is_cut, memory_order_relaxed) ? 0 : count;
}

ssize_t send(int fd, const void *bytes, size_t size, int flags) {
  struct connection *connection = guard_find(fd);
  if (connection != NULL && !atomic_load_explicit(&connection->is_proven, memory_order_relaxed))
    guard_speak(connection, bytes, size);
  ssize_t count = syscall(SYS_sendto, fd, bytes, size, flags, NULL, 0);
  if (count < 0 && is_scarcity(errno)) {
    pause_briefly();
    errno = EAGAIN;
  }
  return count;
}

int poll(struct pollfd *items, nfds_t count, int timeout) {
  struct timespec longest = {.tv_sec = timeout / 1000, .tv_nsec = timeout % 1000 * 1000000L};
  int ready = (int)syscall(SYS_ppoll, items, count, timeout < 0 ? NULL : &longest, NULL, 0);
  if (ready < 0 && (errno == ENOMEM || errno == EAGAIN)) {
    pause_briefly();
    errno = EINTR;
  }
  return ready;
}

int eventfd(unsigned int value, int flags) {
  int fd = (int)syscall(SYS_eventfd2, value, flags);
  // libzmq asserts that nothing else than descriptors can be wanting.
  if (fd < 0 && is_scarcity(errno)) errno = EMFILE;
  return fd;
}

bool csocketguard_is_linked(void) {
  return dlsym(RTLD_DEFAULT, "accept4") == (void *)accept4 &&
         dlsym(RTLD_DEFAULT, "recv") == (void *)recv && dlsym(RTLD_DEFAULT, "close") == (void *)close;
}
