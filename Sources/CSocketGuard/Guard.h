// What the parts of the guard share: the table of connections, and what is known of each.
#ifndef CSOCKETGUARD_GUARD_H
#define CSOCKETGUARD_GUARD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// How much of ZMTP (rfc.zeromq.org/spec/23) is understood of what a connection says.
enum speech {
  SPEECH_GREETING,   // its first 64 bytes
  SPEECH_FRAMES,     // frames in clear: each is told apart
  SPEECH_ENCRYPTED,  // frames whose content, and so the end of a message, is hidden
  SPEECH_UNKNOWN,    // not ZMTP 3, of a peer that this process has called: not judged
};

// Reads what a connection says. Of one thread: the one that reads the connection.
struct parser {
  enum speech speech;
  uint8_t bytes[64];  // of a greeting or a frame's header, as far as it has come
  uint8_t count;
  bool is_more;        // the frame under way is not its message's last
  bool is_command;     // the frame under way belongs to no message
  uint64_t body_left;  // of the frame under way
  uint32_t frames;     // of the message under way
  int64_t eased;       // the second up to which an encrypted connection's held bytes were eased
};

enum { STATE_FREE = 0, STATE_ACCEPTED, STATE_CONNECTED };

struct connection {
  _Atomic int state;
  _Atomic bool is_proven;   // is through with the handshake
  _Atomic bool is_cut;      // shut down, and soon closed by libzmq
  _Atomic uint64_t held;    // bytes that libzmq holds of a message that is not complete
  int64_t since;            // milliseconds
  uint64_t peer[3];         // who it is: process, user, or address
  struct parser parser;
};

// The largest message and the longest handshake, from csocketguard_set_limits.
extern _Atomic uint64_t guard_message_bytes;
extern _Atomic uint32_t guard_message_frames;
extern _Atomic int guard_handshake_ms;

// What has been turned away, by csocketguard_counts_t's fields.
extern _Atomic uint64_t guard_full, guard_crowded, guard_exhausted, guard_displaced, guard_unended,
    guard_outdated;

// Returns the connection of a descriptor, or NULL if it is none.
struct connection *guard_find(int fd);

// Begins to watch a descriptor; NULL if the table has no room for it.
struct connection *guard_watch(int fd, int state);

// Forgets a descriptor, before it is closed.
void guard_forget(int fd);

// Decides whether a connection that was just accepted may stay; it is watched then.
bool guard_admit(int fd);

// Changes what a connection holds from `before`, and cuts the one that holds most if all hold too
// much. Returns false, with nothing changed, if it held something else.
bool guard_hold(struct connection *connection, uint64_t before, uint64_t held);

// Reads bytes that a connection has said. Returns false if it is to be cut.
bool guard_listen(struct connection *connection, const uint8_t *bytes, size_t count);

// Looks at bytes that are about to be said to a connection: of an encrypted one they tell that its
// handshake has succeeded.
void guard_speak(struct connection *connection, const uint8_t *bytes, size_t count);

// Milliseconds since some beginning.
int64_t guard_now(void);

#endif
