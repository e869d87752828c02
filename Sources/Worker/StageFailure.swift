// Why a stage could not be prepared, a step not be run, or keys and values not be moved, as the
// coordinator is told: what it does about it depends on the code.

package import Compute
internal import Gemma
internal import Platform
package import Wire

/// What went wrong, and what it was for.
package struct StageFailure: Sendable, Hashable {
  package var code: FailureCode
  package var reason: String
  /// The layers that the device has no kernels for; with the code `unsupported` alone.
  package var unsupportedLayers: [Int] = []
  /// Whether the device has no kernels for the logits; with the code `unsupported` alone.
  package var lacksLogits = false

  package init(_ code: FailureCode, _ reason: String) {
    self.code = code
    self.reason = reason
  }

  /// Tells of an error.
  ///
  /// - Parameters:
  ///   - error: What was thrown.
  ///   - program: What was to be prepared; its ops tell which layers `backend` does not support.
  ///   - backend: The worker's own.
  package init(_ error: any Error, preparing program: Program? = nil, on backend: any Backend) {
    self.init(FailureCode(error), "\(error)")
    guard code == .unsupported, let program else { return }
    for op in program.ops {
      guard case .unsupported = backend.support(for: op) else { continue }
      if let layer = program.layer(of: op) {
        if !unsupportedLayers.contains(layer) { unsupportedLayers.append(layer) }
      } else {
        add(end: op, of: program)
      }
    }
  }

  /// Notes an op that belongs to no layer: it is done for the logits, or for the first or last layer.
  private mutating func add(end op: Op, of program: Program) {
    switch op.kind {
    case .logits: lacksLogits = true
    case .embed, .expandStreams: unsupportedLayers.append(0)
    case .mergeStreams: unsupportedLayers.append(program.layers.upperBound - 1)
    // Done for all layers of the stage: none of them can be here.
    default: unsupportedLayers += program.layers
    }
  }
}

extension FailureCode {
  /// Returns what an error means to whoever places layers.
  init(_ error: any Error) {
    switch error {
    case let error as ComputeError: self = FailureCode(error.code)
    case let error as WorkerError: self = FailureCode(error)
    case is GemmaError: self = .model
    case let error as any ScarcityError where error.isScarcity: self = .memory
    default: self = .internal
    }
  }

  private init(_ code: ComputeError.Code) {
    self =
      switch code {
      case .unsupported: .unsupported
      case .weight: .model
      case .memory: .memory
      case .device: .device
      case .batch: .step
      case .invalidProgram: .internal
      }
  }

  private init(_ error: WorkerError) {
    // A device that fails within a step is no step that does not fit.
    if let cause = error.underlying as? ComputeError {
      self = FailureCode(cause.code)
      return
    }
    self =
      switch error.code {
      case .step: .step
      case .weights: .model
      case .handOff: .handOff
      case .device: .device
      case .system:
        (error.underlying as? any ScarcityError)?.isScarcity == true ? .memory : .internal
      case .unreachable, .refused, .prepare, .stopped: .internal
      }
  }
}
