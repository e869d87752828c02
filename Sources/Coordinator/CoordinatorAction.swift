// The actions of the machine, which the coordinator's shell performs.

package import Wire

/// An action for the coordinator's shell.
package enum CoordinatorAction: Sendable {
  case send(Message, to: PeerID, payloads: [[Float]] = [])
  /// Connect the data plane to the first stage, in place of any connection before.
  case connectFirstStage(endpoint: String, key: PublicKey?)
  case sendStep(Step)
  /// Tokenize a text on another thread, then report it with the event `encoded`.
  case encode(UnencodedPrompt)
  /// Nobody wants those tokens any more.
  case forgetEncoding(UInt64)
  /// A micro-batch has come back; only if `tracesSteps` is set.
  case stepTraced(StepTrace)
  /// End a supervised worker's process; an unsupervised one is just forgotten.
  case kill(worker: String)
  /// A step has passed all workers of the epoch, so none of them crashes because of its work.
  case proven
  /// Let a supervised worker end without a restart.
  case release(worker: String)
  case note(CoordinatorNote)
  /// How much of the weights is prepared, 0 to 1.
  case progress(Double)
  /// Prompts are accepted from now on (once in each epoch).
  case ready
  /// Give up: nothing can be served any more.
  case fail(CoordinatorError)
}

/// Something worth a line in the log.
package struct CoordinatorNote: Sendable, Hashable {
  package var isWarning: Bool
  package var message: String
  package var metadata: [String: String]
}
