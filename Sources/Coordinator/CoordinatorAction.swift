// What the machine tells the coordinator's shell to do.

package import Wire

/// What the coordinator's shell shall do.
package enum CoordinatorAction: Sendable {
  case send(Message, to: PeerID, payloads: [[Float]] = [])
  /// Connect the data plane to the first stage, in place of any connection before.
  case connectFirstStage(endpoint: String, key: PublicKey?)
  case sendStep(Step)
  /// Tokenize a text elsewhere, then say `encoded`.
  case encode(UnencodedPrompt)
  /// Nobody wants those tokens any more.
  case forgetEncoding(UInt64)
  /// A micro-batch has come back; said where `tracesSteps` asks for it.
  case stepTraced(StepTrace)
  /// End a supervised worker's process; an unsupervised one is just forgotten.
  case kill(worker: String)
  /// A step has passed all workers of the epoch: none of them dies of what it is asked to do.
  case proven
  /// Let a supervised worker end without starting it again.
  case release(worker: String)
  case note(CoordinatorNote)
  /// How much of the weights is prepared, 0 to 1.
  case progress(Double)
  /// Prompts are accepted from now on (said once an epoch).
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
