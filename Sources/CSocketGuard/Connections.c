// The table of connections, and who may have one.
#define _GNU_SOURCE
#include "Guard.h"

#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "CSocketGuard.h"

// Descriptors up to 65,535 can be connections: 256 pieces of the table, made when they are needed.
enum { PIECES = 256, PIECE = 256 };

// Connections in all: each costs libzmq some ten kilobytes.
enum { MOST_CONNECTIONS = 4096 };

// Descriptors that connections leave to the process itself: a quarter of its limit, at most so many.
// A coordinator needs one a worker to watch it, and a few for the sockets to them.
enum { MOST_RESERVED = 256 };

_Atomic uint64_t guard_message_bytes = UINT64_MAX;
_Atomic uint32_t guard_message_frames = UINT32_MAX;
_Atomic int guard_handshake_ms = 5000;
_Atomic uint64_t guard_full, guard_crowded, guard_exhausted, guard_displaced, guard_unended,
    guard_outdated;

static struct connection *_Atomic table[PIECES];
_Static_assert(STATE_FREE == 0, "calloc makes a piece of free entries");
static _Atomic int connection_count;  // accepted ones
static _Atomic uint64_t held_in_all;
static _Atomic int table_end;  // no descriptor of a connection lies here or above
// Of who adds connections; removing one takes no lock.
static pthread_mutex_t table_lock = PTHREAD_MUTEX_INITIALIZER;

int64_t guard_now(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static struct connection *entry(int fd) {
  if (fd < 0 || fd >= PIECES * PIECE) return NULL;
  struct connection *piece = atomic_load_explicit(&table[fd / PIECE], memory_order_acquire);
  return piece == NULL ? NULL : &piece[fd % PIECE];
}

struct connection *guard_find(int fd) {
  struct connection *connection = entry(fd);
  if (connection == NULL) return NULL;
  return atomic_load_explicit(&connection->state, memory_order_acquire) ? connection : NULL;
}

// With the lock held.
static struct connection *watch(int fd, int state) {
  if (fd < 0 || fd >= PIECES * PIECE) return NULL;
  if (atomic_load(&table[fd / PIECE]) == NULL) {
    struct connection *piece = calloc(PIECE, sizeof *piece);
    if (piece == NULL) return NULL;
    atomic_store_explicit(&table[fd / PIECE], piece, memory_order_release);
  }
  guard_forget(fd);  // where it was closed by a call that is not seen here
  struct connection *connection = entry(fd);
  memset(&connection->parser, 0, sizeof connection->parser);
  memset(connection->peer, 0, sizeof connection->peer);
  connection->since = guard_now();
  atomic_store(&connection->is_proven, false);
  atomic_store(&connection->is_cut, false);
  atomic_store(&connection->held, 0);
  if (state == STATE_ACCEPTED) atomic_fetch_add(&connection_count, 1);
  if (fd >= atomic_load(&table_end)) atomic_store(&table_end, fd + 1);
  atomic_store_explicit(&connection->state, state, memory_order_release);
  return connection;
}

struct connection *guard_watch(int fd, int state) {
  pthread_mutex_lock(&table_lock);
  struct connection *connection = watch(fd, state);
  pthread_mutex_unlock(&table_lock);
  return connection;
}

void guard_forget(int fd) {
  struct connection *connection = entry(fd);
  if (connection == NULL) return;
  int state = atomic_exchange(&connection->state, STATE_FREE);
  if (state == STATE_FREE) return;
  atomic_fetch_sub(&held_in_all, atomic_exchange(&connection->held, 0));
  if (state == STATE_ACCEPTED) atomic_fetch_sub(&connection_count, 1);
}

// Fills in who is at the other end: over ipc the process, or the user where that is another one; over
// tcp the address, of IPv6 the 64 bits that a provider gives to one customer.
static void identify(int fd, struct connection *connection) {
  struct sockaddr_storage address = {0};
  socklen_t size = sizeof address;
  getpeername(fd, (struct sockaddr *)&address, &size);
  connection->peer[0] = address.ss_family;
  if (address.ss_family == AF_INET) {
    connection->peer[1] = ((struct sockaddr_in *)&address)->sin_addr.s_addr;
  } else if (address.ss_family == AF_INET6) {
    memcpy(&connection->peer[1], &((struct sockaddr_in6 *)&address)->sin6_addr, 8);
  } else {
    struct ucred credentials = {0};
    socklen_t length = sizeof credentials;
    getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &length);
    connection->peer[1] = credentials.uid;
    if (credentials.uid == geteuid()) connection->peer[2] = (uint64_t)credentials.pid;
  }
}

static bool are_of_one_peer(const struct connection *a, const struct connection *b) {
  return memcmp(a->peer, b->peer, sizeof a->peer) == 0;
}

// Cuts the oldest connection that is not through with its handshake yet, and still within the time of a
// handshake: honest peers need milliseconds for it, mute ones all of the time. `of_its_peer` limits
// the choice to connections of the newcomer's peer. Returns false if there is none.
static bool displace(const struct connection *newcomer, bool of_its_peer) {
  int64_t now = guard_now();
  int handshake = atomic_load(&guard_handshake_ms);
  int oldest = -1;
  int64_t since = INT64_MAX;
  for (int fd = 0; fd < atomic_load(&table_end); fd++) {
    struct connection *other = guard_find(fd);
    if (other == NULL || other == newcomer || atomic_load(&other->state) != STATE_ACCEPTED) continue;
    if (atomic_load(&other->is_proven) || atomic_load(&other->is_cut)) continue;
    if (now - other->since > handshake || other->since >= since) continue;
    if (of_its_peer && !are_of_one_peer(other, newcomer)) continue;
    oldest = fd;
    since = other->since;
  }
  struct connection *other = guard_find(oldest);
  if (other == NULL) return false;
  atomic_store(&other->is_cut, true);
  shutdown(oldest, SHUT_RDWR);
  atomic_fetch_add(&guard_displaced, 1);
  return true;
}

static int connections_like(const struct connection *newcomer) {
  int count = 0;
  for (int fd = 0; fd < atomic_load(&table_end); fd++) {
    struct connection *other = guard_find(fd);
    if (other == NULL || atomic_load(&other->state) != STATE_ACCEPTED) continue;
    if (!atomic_load(&other->is_cut) && are_of_one_peer(other, newcomer)) count++;
  }
  return count;
}

// Whether a newcomer may stay. Descriptors are given out from the lowest: its number says how many
// are taken. One that is displaced is closed a moment later, so half of the reserve is for newcomers.
static bool has_room(int fd, const struct connection *newcomer) {
  struct rlimit limit;
  int most = PIECES * PIECE;
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < (rlim_t)most)
    most = (int)limit.rlim_cur;
  int reserve = most / 4 < MOST_RESERVED ? most / 4 : MOST_RESERVED;
  int room = most - reserve < MOST_CONNECTIONS ? most - reserve : MOST_CONNECTIONS;
  if (connections_like(newcomer) > room / 2 && !displace(newcomer, true)) {
    atomic_fetch_add(&guard_crowded, 1);
    return false;
  }
  bool is_full = fd >= most - reserve || atomic_load(&connection_count) > room;
  if (is_full && (fd >= most - reserve / 2 || !displace(newcomer, false))) {
    atomic_fetch_add(&guard_full, 1);
    return false;
  }
  return true;
}

bool guard_admit(int fd) {
  pthread_mutex_lock(&table_lock);
  struct connection *connection = watch(fd, STATE_ACCEPTED);
  bool may_stay = connection != NULL;
  if (may_stay) {
    identify(fd, connection);
    may_stay = has_room(fd, connection);
    if (!may_stay) guard_forget(fd);
  } else {
    atomic_fetch_add(&guard_full, 1);
  }
  pthread_mutex_unlock(&table_lock);
  return may_stay;
}

bool guard_hold(struct connection *connection, uint64_t before, uint64_t held) {
  if (held == before) return true;
  uint64_t expected = before;
  if (!atomic_compare_exchange_strong(&connection->held, &expected, held)) return false;
  uint64_t all = atomic_fetch_add(&held_in_all, held - before) + held - before;
  uint64_t most = atomic_load_explicit(&guard_message_bytes, memory_order_relaxed);
  if (held < before || all / 2 <= most) return true;
  pthread_mutex_lock(&table_lock);
  int largest = -1;
  uint64_t most_held = 0;
  for (int fd = 0; fd < atomic_load(&table_end); fd++) {
    struct connection *other = guard_find(fd);
    if (other == NULL || atomic_load(&other->is_cut)) continue;
    uint64_t its = atomic_load(&other->held);
    if (its > most_held) {
      largest = fd;
      most_held = its;
    }
  }
  struct connection *other = guard_find(largest);
  if (other != NULL) {
    atomic_store(&other->is_cut, true);
    shutdown(largest, SHUT_RDWR);
    atomic_fetch_add(&guard_unended, 1);
  }
  pthread_mutex_unlock(&table_lock);
  return true;
}

void csocketguard_set_limits(uint64_t message_bytes, uint32_t message_frames, int handshake_ms) {
  atomic_store(&guard_message_bytes, message_bytes);
  atomic_store(&guard_message_frames, message_frames);
  atomic_store(&guard_handshake_ms, handshake_ms);
}

void csocketguard_delivered(int fd) {
  struct connection *connection = guard_find(fd);
  if (connection == NULL) return;
  while (!guard_hold(connection, atomic_load(&connection->held), 0)) continue;
}

csocketguard_counts_t csocketguard_counts(void) {
  return (csocketguard_counts_t){
      .full = atomic_load(&guard_full),
      .crowded = atomic_load(&guard_crowded),
      .exhausted = atomic_load(&guard_exhausted),
      .displaced = atomic_load(&guard_displaced),
      .unended = atomic_load(&guard_unended),
      .outdated = atomic_load(&guard_outdated),
  };
}

int csocketguard_connections(void) { return atomic_load(&connection_count); }
