// The events that the coordinator's shell passes to the machine.

package import Wire

/// An event of the coordinator.
package enum CoordinatorEvent: Sendable {
  /// A well-formed message came in at the public socket.
  case message(Message, from: PeerID, payloads: [[Float]])
  /// A malformed message came in and was dropped.
  case malformed(from: PeerID?, WireError)
  /// A peer was refused at the public socket.
  case refused(Refusal)
  /// The list of keys and roles; sent before the first message, and when the list has changed.
  case accessChanged(Access)
  /// A peer could not be reached.
  case unreachable(PeerID)
  /// A message could not be sent to a peer that is there.
  case notSent(Message, to: PeerID, reason: String)
  /// A text has been tokenized, or cannot be.
  case encoded(id: UInt64, Result<EncodedPrompt, PromptError>)
  /// The first stage's data endpoint cannot be connected to.
  case firstStageNotConnected(reason: String)
  /// The first stage could not be sent a step.
  case stepNotSent(sequence: UInt64)
  /// The model's files are not what they were when they were opened: what happened, in a sentence.
  case modelChanged(String)
  /// A supervised worker process ended.
  case workerExited(name: String, how: String, willRestart: Bool)
  /// Time passed.
  case tick
  /// The user asked to stop.
  case stop
}
