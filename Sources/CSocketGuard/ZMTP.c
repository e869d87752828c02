// How much libzmq has to keep of what a connection says: frames of a message that is not complete.
//
//   greeting, 64 bytes: FF | 8 any | bit 0 set | version ≥ 3 | minor | mechanism, 20 | 32 any
//   frame:              flags: 1 more, 2 long, 4 command | size: 1 byte, long 8, big-endian | body
#include "Guard.h"

#include <string.h>

enum { GREETING_BYTES = 64, MECHANISM_AT = 12, MECHANISM_BYTES = 20 };
_Static_assert(GREETING_BYTES == sizeof ((struct parser *)0)->bytes, "a greeting fits its parser");
_Static_assert(MECHANISM_AT + MECHANISM_BYTES <= GREETING_BYTES, "a greeting has its mechanism");
_Static_assert(GREETING_BYTES <= UINT8_MAX, "a parser can count the bytes of a greeting");
enum { HEADER_BYTES = 2, LONG_HEADER_BYTES = 9 };
enum { FLAG_MORE = 1, FLAG_LONG = 2, FLAG_COMMAND = 4 };

// libzmq keeps a msg_t of 64 bytes a frame, and for larger ones a block with a header.
enum { FRAME_COST = 64 };

// What an encrypted connection may add a second without a message being counted: its heartbeats.
enum { EASE_BYTES_PER_SECOND = 1024 };

static size_t least(size_t a, uint64_t b) { return b < a ? (size_t)b : a; }

// Takes bytes until `wanted` of them are there; returns how many were taken.
static size_t gather(struct parser *parser, size_t wanted, const uint8_t *bytes, size_t count) {
  size_t taken = least(count, wanted - parser->count);
  memcpy(parser->bytes + parser->count, bytes, taken);
  parser->count += (uint8_t)taken;
  return taken;
}

// Judges a greeting as soon as it can be: a peer of an older version may stop short of 64 bytes.
static bool greeting_is_sound(const struct parser *parser) {
  const uint8_t *bytes = parser->bytes;
  if (parser->count > 0 && bytes[0] != 0xFF) return false;
  if (parser->count > 9 && (bytes[9] & 1) == 0) return false;
  return parser->count <= 10 || bytes[10] >= 3;
}

static size_t header_bytes(const struct parser *parser) {
  return parser->count > 0 && (parser->bytes[0] & FLAG_LONG) ? LONG_HEADER_BYTES : HEADER_BYTES;
}

// Begins the frame whose header is complete. Returns false if its message has too many frames.
static bool begin_frame(struct connection *connection, uint64_t *held) {
  struct parser *parser = &connection->parser;
  uint64_t size = 0;
  for (int i = 1; i < parser->count; i++) size = size << 8 | parser->bytes[i];
  parser->is_more = parser->bytes[0] & FLAG_MORE;
  parser->is_command = parser->bytes[0] & FLAG_COMMAND;
  parser->body_left = size;
  parser->count = 0;
  if (parser->is_command) return true;
  parser->frames++;
  *held += FRAME_COST;
  return parser->frames <= atomic_load_explicit(&guard_message_frames, memory_order_relaxed);
}

static void end_frame(struct connection *connection, uint64_t *held) {
  struct parser *parser = &connection->parser;
  // In clear the first frame is the peer's READY.
  atomic_store_explicit(&connection->is_proven, true, memory_order_relaxed);
  if (parser->is_command || parser->is_more) return;
  parser->frames = 0;
  *held = 0;
}

static bool read_frames(struct connection *connection, const uint8_t *bytes, size_t count) {
  struct parser *parser = &connection->parser;
  uint64_t before = atomic_load_explicit(&connection->held, memory_order_relaxed);
  uint64_t held = before;
  bool is_sound = true;
  while (is_sound && count > 0) {
    size_t taken;
    if (parser->body_left > 0) {
      taken = least(count, parser->body_left);
      parser->body_left -= taken;
      if (!parser->is_command) held += taken;
      if (parser->body_left == 0) end_frame(connection, &held);
    } else {
      // The flags say how long the header is.
      taken = gather(parser, parser->count == 0 ? 1 : header_bytes(parser), bytes, count);
      if (parser->count > 1 && parser->count == header_bytes(parser)) {
        is_sound = begin_frame(connection, &held);
        if (parser->body_left == 0) end_frame(connection, &held);
      }
    }
    bytes += taken;
    count -= taken;
  }
  is_sound = is_sound && held <= atomic_load_explicit(&guard_message_bytes, memory_order_relaxed);
  guard_hold(connection, before, held);
  return is_sound;
}

// Counts bytes since a message was last delivered, twice: a queue of messages may be among them.
static bool count_bytes(struct connection *connection, size_t count) {
  struct parser *parser = &connection->parser;
  int64_t second = guard_now() / 1000;
  int64_t passed = second - parser->eased;
  uint64_t eased = passed > 0 ? (uint64_t)passed * EASE_BYTES_PER_SECOND : 0;
  parser->eased = second;
  uint64_t before, held;
  do {
    // Another thread may note a delivery meanwhile.
    before = atomic_load(&connection->held);
    held = before + count > eased ? before + count - eased : 0;
  } while (!guard_hold(connection, before, held));
  return held / 2 <= atomic_load_explicit(&guard_message_bytes, memory_order_relaxed);
}

void guard_speak(struct connection *connection, const uint8_t *bytes, size_t count) {
  // A CURVE server says READY to whom it lets in, after the key has been proved and is known, and it
  // waits for its peer before: so READY begins what is sent (rfc.zeromq.org/spec/26).
  static const uint8_t ready[] = "\5READY";
  if (connection->parser.speech != SPEECH_ENCRYPTED || count < 1) return;
  size_t at = bytes[0] & FLAG_LONG ? LONG_HEADER_BYTES : HEADER_BYTES;
  if (!(bytes[0] & FLAG_COMMAND) || count < at + sizeof ready - 1) return;
  if (memcmp(bytes + at, ready, sizeof ready - 1) == 0) atomic_store(&connection->is_proven, true);
}

bool guard_listen(struct connection *connection, const uint8_t *bytes, size_t count) {
  struct parser *parser = &connection->parser;
  if (parser->speech == SPEECH_GREETING) {
    size_t taken = gather(parser, GREETING_BYTES, bytes, count);
    if (!greeting_is_sound(parser)) {
      parser->speech = SPEECH_UNKNOWN;
      if (atomic_load(&connection->state) != STATE_ACCEPTED) return true;
      atomic_fetch_add(&guard_outdated, 1);
      return false;
    }
    if (parser->count < GREETING_BYTES) return true;
    static const char null[MECHANISM_BYTES] = "NULL";
    bool is_clear = memcmp(parser->bytes + MECHANISM_AT, null, MECHANISM_BYTES) == 0;
    parser->speech = is_clear ? SPEECH_FRAMES : SPEECH_ENCRYPTED;
    parser->count = 0;
    parser->eased = guard_now() / 1000;
    bytes += taken;
    count -= taken;
  }
  bool is_sound = true;
  if (parser->speech == SPEECH_FRAMES) is_sound = read_frames(connection, bytes, count);
  if (parser->speech == SPEECH_ENCRYPTED) is_sound = count_bytes(connection, count);
  if (!is_sound) atomic_fetch_add(&guard_unended, 1);
  return is_sound;
}
