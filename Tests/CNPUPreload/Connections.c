// Connections to the kernel: one for each time that the node is opened.
//
// A descriptor of the node is that of the file with all buffers' pages, so that mmap(2) is the real one. Whoever closes
// it without our close (a program that has a close of its own) leaves its place here: so each use checks that the
// descriptor is still that file, and each open clears what is no longer in use.
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include "CNPUPreload.h"
#include "Preload.h"

enum { MOST_CONNECTIONS = 64, MOST_MAPPINGS = 4096 };

static struct connection {
  int fd;      // of the node, -1 if the place is free
  int socket;  // to the kernel
  dev_t device;
  ino_t file;
  pthread_mutex_t busy;  // held while a request is under way
} connections[MOST_CONNECTIONS];

static struct mapping {
  void *address;  // NULL if the place is free
  int place;      // of its connection
} mappings[MOST_MAPPINGS];

// Of the two tables.
static pthread_mutex_t tables = PTHREAD_MUTEX_INITIALIZER;

static _Atomic int open_count;

bool preload_is_on(void) {
  const char *path = getenv("TRESTLE_NPU_FAKE");
  return path != NULL && *path != 0;
}

static int close_now(int fd) { return (int)syscall(SYS_close, fd); }

static void clear_tables(void) {
  pthread_mutex_init(&tables, NULL);
  for (int place = 0; place < MOST_CONNECTIONS; place++) {
    connections[place].fd = -1;
    pthread_mutex_init(&connections[place].busy, NULL);
  }
  memset(mappings, 0, sizeof mappings);
  open_count = 0;
}

// In a child that was forked: the parent goes on with its ends of the connections; here are copies of them. A child of
// vfork(2), which shares the parent's memory, does not come here, and must not.
static void forget_parent(void) {
  for (int place = 0; place < MOST_CONNECTIONS; place++) {
    if (connections[place].fd >= 0) close_now(connections[place].socket);
  }
  clear_tables();
}

static void prepare(void) {
  clear_tables();
  pthread_atfork(NULL, NULL, forget_parent);
}

static void lock_tables(void) { pthread_mutex_lock(&tables); }
static void unlock_tables(void) { pthread_mutex_unlock(&tables); }

static bool is_still(const struct connection *connection) {
  struct stat now;
  return fstat(connection->fd, &now) == 0 && now.st_dev == connection->device &&
         now.st_ino == connection->file;
}

// With the tables locked: ends a connection, and forgets what was mapped of it.
static void drop(int place) {
  shutdown(connections[place].socket, SHUT_RDWR);
  close_now(connections[place].socket);
  connections[place].fd = -1;
  open_count--;
  for (int index = 0; index < MOST_MAPPINGS; index++) {
    if (mappings[index].place == place) mappings[index].address = NULL;
  }
}

int preload_find(int fd) {
  // What no node is open for costs nothing.
  if (fd < 0 || open_count == 0) return -1;
  int found = -1;
  lock_tables();
  for (int place = 0; place < MOST_CONNECTIONS && found < 0; place++) {
    if (connections[place].fd == fd) found = place;
  }
  if (found >= 0 && !is_still(&connections[found])) {
    drop(found);
    found = -1;
  }
  unlock_tables();
  return found;
}

void preload_forget(int fd) {
  int place = preload_find(fd);
  if (place < 0) return;
  // A request of another thread ends before.
  pthread_mutex_lock(&connections[place].busy);
  lock_tables();
  if (connections[place].fd == fd) drop(place);
  unlock_tables();
  pthread_mutex_unlock(&connections[place].busy);
}

// --- Messages --------------------------------------------------------------------------------------

static bool send_message(int socket, const struct npu_preload_message *message, void *bytes,
                         size_t count) {
  struct iovec parts[2] = {{(void *)message, sizeof *message}, {bytes, count}};
  struct msghdr header = {.msg_iov = parts, .msg_iovlen = 2};
  ssize_t sent;
  do sent = sendmsg(socket, &header, MSG_NOSIGNAL);
  while (sent < 0 && errno == EINTR);
  return sent == (ssize_t)(sizeof *message + count);
}

// Returns how many bytes follow the message, or -1 if the kernel is gone.
static ssize_t receive_message(int socket, struct npu_preload_message *message, void *bytes,
                               int *descriptor) {
  struct iovec parts[2] = {{message, sizeof *message}, {bytes, NPU_PRELOAD_BYTES}};
  union {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(sizeof(int))];
  } control = {0};
  struct msghdr header = {.msg_iov = parts, .msg_iovlen = 2};
  if (descriptor != NULL) {
    header.msg_control = &control;
    header.msg_controllen = sizeof control;
  }
  ssize_t count;
  do count = recvmsg(socket, &header, MSG_CMSG_CLOEXEC);
  while (count < 0 && errno == EINTR);
  if (count < (ssize_t)sizeof *message) return -1;
  struct cmsghdr *part = descriptor == NULL ? NULL : CMSG_FIRSTHDR(&header);
  if (part != NULL && part->cmsg_type == SCM_RIGHTS) {
    memcpy(descriptor, CMSG_DATA(part), sizeof *descriptor);
  }
  return count - (ssize_t)sizeof *message;
}

// Moves bytes between this process and itself, so that a wrong address is an error.
static bool move(bool is_write, uint64_t address, void *bytes, size_t count) {
  if (count == 0) return true;
  struct iovec own = {bytes, count}, other = {(void *)(uintptr_t)address, count};
  ssize_t moved = is_write ? process_vm_writev(getpid(), &own, 1, &other, 1, 0)
                           : process_vm_readv(getpid(), &own, 1, &other, 1, 0);
  return moved == (ssize_t)count;
}

// Sends a message, and does what the kernel orders until it is done.
static int serve(int place, struct npu_preload_message message) {
  struct connection *connection = &connections[place];
  char *bytes = malloc(NPU_PRELOAD_BYTES);
  if (bytes == NULL) return ENOMEM;
  pthread_mutex_lock(&connection->busy);
  int error = ENODEV;
  bool is_sent = connection->fd >= 0 && send_message(connection->socket, &message, NULL, 0);
  while (is_sent) {
    struct npu_preload_message order;
    ssize_t count = receive_message(connection->socket, &order, bytes, NULL);
    if (count < 0) break;
    if (order.kind == NPU_PRELOAD_DONE) {
      error = (int)order.value;
      break;
    }
    struct npu_preload_message answer = {.kind = NPU_PRELOAD_ANSWER, .value = EFAULT};
    size_t answered = 0;
    if (order.kind == NPU_PRELOAD_WRITE) {
      if (move(true, order.address, bytes, (size_t)count)) answer.value = 0;
    } else if (order.count <= NPU_PRELOAD_BYTES &&
               move(false, order.address, bytes, (size_t)order.count)) {
      answer.value = 0;
      answered = (size_t)order.count;
    }
    is_sent = send_message(connection->socket, &answer, bytes, answered);
  }
  pthread_mutex_unlock(&connection->busy);
  free(bytes);
  return error;
}

int preload_request(int place, uint32_t request, uint64_t address) {
  return serve(place, (struct npu_preload_message){
                          .kind = NPU_PRELOAD_REQUEST, .value = request, .address = address});
}

void preload_mapped(int place, uint64_t offset, uint64_t count, void *address) {
  // What was mapped there before is gone.
  preload_unmapped(address);
  serve(place, (struct npu_preload_message){.kind = NPU_PRELOAD_MAPPED,
                                            .address = (uintptr_t)address,
                                            .offset = offset,
                                            .count = count});
  lock_tables();
  for (int index = 0; index < MOST_MAPPINGS; index++) {
    if (mappings[index].address != NULL) continue;
    mappings[index] = (struct mapping){address, place};
    break;
  }
  unlock_tables();
}

void preload_unmapped(void *address) {
  if (open_count == 0 || address == NULL) return;
  int place = -1;
  lock_tables();
  for (int index = 0; index < MOST_MAPPINGS && place < 0; index++) {
    if (mappings[index].address != address) continue;
    place = mappings[index].place;
    mappings[index].address = NULL;
  }
  unlock_tables();
  if (place < 0) return;
  serve(place, (struct npu_preload_message){.kind = NPU_PRELOAD_UNMAPPED,
                                            .address = (uintptr_t)address});
}

// --- Opening ---------------------------------------------------------------------------------------

static int connect_to_kernel(void) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  const char *path = getenv("TRESTLE_NPU_FAKE");
  if (path == NULL || strlen(path) >= sizeof address.sun_path) {
    errno = ENOENT;
    return -1;
  }
  strcpy(address.sun_path, path);
  int socket_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  if (socket_fd < 0) return -1;
  // The system call itself: a program may watch its own connections.
  if (syscall(SYS_connect, socket_fd, &address, sizeof address) == 0) return socket_fd;
  close_now(socket_fd);
  errno = ENODEV;
  return -1;
}

// With the tables locked: a free place, after those whose descriptors were closed behind our back are cleared.
static int free_place(void) {
  int free = -1;
  for (int place = 0; place < MOST_CONNECTIONS; place++) {
    if (connections[place].fd >= 0 && !is_still(&connections[place])) drop(place);
    if (connections[place].fd < 0 && free < 0) free = place;
  }
  return free;
}

int preload_open(int flags) {
  (void)flags;  // Nobody keeps the node open over exec.
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, prepare);
  int socket_fd = connect_to_kernel();
  if (socket_fd < 0) return -1;
  struct npu_preload_message greeting = {0};
  char *bytes = malloc(NPU_PRELOAD_BYTES);
  int fd = -1;
  ssize_t count = bytes == NULL ? -1 : receive_message(socket_fd, &greeting, bytes, &fd);
  free(bytes);
  struct stat file;
  int error = count < 0 ? ENODEV : (int)greeting.value;
  if (error == 0 && (fd < 0 || fstat(fd, &file) != 0)) error = ENODEV;
  if (error == 0) {
    lock_tables();
    // A place of the number that the kernel has just given out is out of date, though the file is the same.
    for (int place = 0; place < MOST_CONNECTIONS; place++) {
      if (connections[place].fd == fd) drop(place);
    }
    int place = free_place();
    if (place >= 0) {
      struct connection *connection = &connections[place];
      connection->fd = fd;
      connection->socket = socket_fd;
      connection->device = file.st_dev;
      connection->file = file.st_ino;
      open_count++;
    } else {
      error = EMFILE;
    }
    unlock_tables();
  }
  if (error == 0) return fd;
  if (fd >= 0) close_now(fd);
  close_now(socket_fd);
  errno = error;
  return -1;
}
