// The limits of the coordinator: how much it holds at once and how long it waits (timeouts), each
// with its reason.

package import Compute

/// Bounds of what is held at once.
package struct CoordinatorLimits: Sendable, Hashable {
  /// Tokens a session may have, prompt and answer together.
  package var contextTokens: Int
  /// Sessions served at once: each has a slot in every KV cache.
  package var slots: Int
  /// Sessions that may wait for a slot; beyond, requests are refused.
  package var queuedSessions = 64
  /// Rows a micro-batch may have, where the devices of all stages prefer so many.
  ///
  /// Executables have room for as many. 128 rows keep three stages of a 512-token prompt busy.
  package var maxRows = 128
  /// How long a micro-batch of a prompt may delay streams that decode.
  ///
  /// A quarter of a second is a stutter, not a halt.
  package var promptPause: Duration = .milliseconds(250)
  /// Whether the workers observe the inputs of products, so that evaluations may ask for them.
  package var observesInputs = false
  /// Logits a micro-batch may give back: 16 MiB, a quarter of the largest frame.
  package var maxLogits = 4 << 20
  /// How long a worker may be silent.
  ///
  /// Heartbeats come four times a second from a thread that only waits; one that is late eight
  /// times in a row does not run. A worker ended by mistake costs a replay and no token.
  package var silence: Duration = .seconds(2)
  /// How long steps may be under way with no worker computing: a message was lost.
  package var stall: Duration = .seconds(5)
  /// The longest a stage may compute one step.
  ///
  /// 128 rows of a 30-billion-weight model on the slowest device, one core, take less than half of it.
  package var longestStep: Duration = .seconds(120)
  /// How long a worker may make no progress with the layers that it prepares.
  ///
  /// Its heartbeats report its progress after each op. The largest op, the logits of a
  /// 30-billion-weight model, reads a gigabyte, which takes ten seconds from a slow disk.
  package var loadStall: Duration = .seconds(60)
  /// How long keys and values may be copied before a move.
  ///
  /// Sessions go on meanwhile. In this time, 70 GB can be sent over 1 Gbit/s.
  package var copying: Duration = .seconds(600)
  /// How long a move may wait for the last steps, and then for keys and values.
  ///
  /// All sessions pause meanwhile. In this time, 3 GB of keys and values can be sent over 1 Gbit/s.
  package var standstill: Duration = .seconds(30)
  /// How long a lost worker's place is kept for it when another one stands by.
  ///
  /// A supervised worker is back within half of it.
  package var grace: Duration = .seconds(2)
  /// How long to wait for lost workers before their layers are given to others, or requests fail.
  package var patience: Duration = .seconds(30)
  /// What clients may leave unread before their sessions pause.
  var unread = Outflow.Limits()
  /// How many malformed or impossible messages a worker may send before it is ended.
  package var nonsense = 3
  package var prefixSharing = PrefixSharing.all

  package init(contextTokens: Int, slots: Int) {
    self.contextTokens = contextTokens
    self.slots = slots
  }

  /// What the executable of every stage must have room for.
  package var executable: ExecutableLimits {
    ExecutableLimits(maxRows: maxRows, slots: slots, contextTokens: contextTokens)
  }
}
