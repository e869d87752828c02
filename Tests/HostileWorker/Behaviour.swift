// The ways in which a worker can misbehave, one a case.

import ArgumentParser

/// What a hostile worker does from the moment it is told to.
enum Behaviour: String, CaseIterable, ExpressibleByArgument {
  // In the place of results, or to the next stage in the place of a hand-off:

  /// Random bytes as frames.
  case noise
  /// A result whose header is cut short.
  case truncated
  /// A result with flipped bits, so that it is no message any more.
  case flipped
  /// A header over the limit, and more payloads than the limit.
  case oversized
  /// Results of rows that nobody asked for.
  case otherRows = "other-rows"
  /// Tokens that are none.
  case vocabulary
  /// The times of too few stages.
  case fewTimes = "few-times"
  /// Logits that nobody wants.
  case unwantedLogits = "unwanted-logits"
  /// Results of an epoch that is over.
  case staleEpoch = "stale-epoch"
  /// Results of an epoch that has never been.
  case futureEpoch = "future-epoch"
  /// What was said before, once more.
  case replayed
  /// A result, or another message, that is not this worker's to send.
  case outOfPlace = "out-of-place"
  /// Results from a socket that nobody knows.
  case stranger
  /// Activations of a wrong size; on the last stage logits that nobody wants.
  case wrongSize = "wrong-size"
  /// A step with other rows than those that came.
  case otherStep = "other-step"
  /// Steps fail, it says.
  case stepFails = "step-fails"
  /// Activations that are NaN; on the last stage the word that a step became so, for no row of it.
  case notFinite = "not-finite"
  /// Steps cannot be handed on, it says.
  case handOffFails = "hand-off-fails"
  /// Nothing, with honest heartbeats.
  case silent
  /// Nothing, with heartbeats that tell of work done.
  case idle
  /// Nothing, with heartbeats that tell of a step that has only just begun.
  case busy

  // Beside the work, which goes on:

  /// Keys and values that nobody asked for, to every worker; then an end without a word.
  case uninvitedKeys = "uninvited-keys"
  /// Heartbeats with the largest numbers there are.
  case absurdHeartbeats = "absurd-heartbeats"
  /// Goodbye in the middle of a step.
  case goodbye

  // Instead of preparing layers:

  /// They cannot be prepared, it says.
  case prepareFails = "prepare-fails"
  /// They are never prepared.
  case hangs

  /// Whether it shows before the worker has layers.
  var refusesLayers: Bool { self == .prepareFails || self == .hangs }
}
