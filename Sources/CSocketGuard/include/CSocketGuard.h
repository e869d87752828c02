// A guard in front of libzmq. The library calls accept4, recv, send, connect, close, poll and eventfd
// of the C library through the dynamic linker; the definitions here come before those, because a
// program's own symbols are found first. So what libzmq cannot bear never reaches it:
//
//   accept    no descriptor left: libzmq would abort; here the caller is turned away. One peer, or
//             mute strangers, may not take all descriptors of the process.
//   recv      a message that never ends: libzmq bounds frames and counts whole messages, so it would
//             keep all of it; here the connection is cut when the message exceeds the largest legal one.
//   the rest  ENOMEM and ENOBUFS, which pass: libzmq would abort or give the peer up; here they look
//             like a call that is to be made again.
//
// Descriptors that are no connections of libzmq's pass through at the cost of one look at a table.
#ifndef CSOCKETGUARD_H
#define CSOCKETGUARD_H

#include <stdbool.h>
#include <stdint.h>

// What has been turned away since the process began.
typedef struct {
  uint64_t full;       // callers: there are too many connections in all
  uint64_t crowded;    // callers: their peer has its share of connections
  uint64_t exhausted;  // callers: the system had no descriptor or no memory left
  uint64_t displaced;  // connections in the middle of a handshake, for a newer one
  uint64_t unended;    // connections: a message larger than the largest legal one
  uint64_t outdated;   // connections: no ZMTP 3
} csocketguard_counts_t;

// Sets the largest message, in bytes and in frames, and how long libzmq waits for a handshake. Until
// this is called messages may have any size.
void csocketguard_set_limits(uint64_t message_bytes, uint32_t message_frames, int handshake_ms);

// Notes that a message of this connection has been delivered: what came before is no longer held.
// What comes through an encrypted connection cannot be told apart otherwise.
void csocketguard_delivered(int fd);

// Returns what has been turned away.
csocketguard_counts_t csocketguard_counts(void);

// Returns how many connections are guarded now.
int csocketguard_connections(void);

// Whether the dynamic linker finds these definitions before those of the C library.
bool csocketguard_is_linked(void);

#endif
