// What a hostile worker does when its time has come. Nothing of it is plausible: a false token that
// could be a true one is beyond what a coordinator can tell.

import Foundation
import Gemma
import Wire

/// A behaviour with what it needs to remember.
struct Liar {
  let behaviour: Behaviour
  var random: Randomness
  /// What was truly said, to be said again.
  private(set) var said: [(message: Message, payloads: [[Float]])] = []
  private static let remembered = 8

  init(_ behaviour: Behaviour, seed: UInt64) {
    self.behaviour = behaviour
    random = Randomness(state: seed)
  }

  mutating func remember(_ message: Message, _ payloads: [[Float]]) {
    said.append((message, payloads))
    if said.count > Self.remembered { said.removeFirst() }
  }
}

/// A small seeded generator (SplitMix64).
struct Randomness: RandomNumberGenerator {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var mixed = state
    mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
    return mixed ^ (mixed >> 31)
  }

  mutating func bytes(_ count: Int) -> [UInt8] {
    (0..<count).map { _ in UInt8.random(in: .min ... .max, using: &self) }
  }
}

extension Impostor {
  private var isLast: Bool { assigned.map { $0.stage == $0.stageCount - 1 } ?? false }

  // MARK: Layers

  /// Returns whether it has refused to prepare layers.
  func refuse(_ assign: Assign) throws -> Bool {
    guard liar.behaviour.refusesLayers else { return false }
    if liar.behaviour == .prepareFails {
      let failure = PrepareFailed(epoch: assign.epoch, code: .memory, message: "does not want to")
      _ = try control.send(.prepareFailed(failure))
    }
    return true
  }

  // MARK: Beside the work

  func adorn(_ heartbeat: inout Heartbeat) {
    switch liar.behaviour {
    case .busy: heartbeat.stepInProgressMicroseconds = 1000
    case .absurdHeartbeats:
      heartbeat.loadFraction = 1e300
      heartbeat.steps = .max
      heartbeat.stepInProgressMicroseconds = .max
      heartbeat.residentBytes = .max
      heartbeat.kvBytes = .max
      heartbeat.rejectedMessages = .max
      heartbeat.clockMicroseconds = .max
      heartbeat.availableBytes = 1
    default: break
    }
  }

  /// Does what needs no step to be done.
  func harass() throws {
    switch liar.behaviour {
    case .uninvitedKeys:
      try sendUninvitedKeys()
      exit(EXIT_FAILURE)
    case .goodbye:
      _ = try control.send(.goodbye(Goodbye(reason: "has had enough")))
      end()
    default: break
    }
  }

  /// Keys and values of every kind of wrong, to every worker there is.
  private func sendUninvitedKeys() throws {
    let epoch = assigned?.epoch ?? 1
    let names = try FileManager.default.contentsOfDirectory(atPath: directory)
    let sockets = try names.map { try connect(Endpoint("ipc://\(directory)/\($0)")) }
    for _ in 0..<8 {
      for socket in sockets {
        let header = KVRows(
          epoch: [epoch, epoch + 1, 0, .max].randomElement(using: &liar.random) ?? 0,
          layer: Int.random(in: 0..<40, using: &liar.random),
          slot: Int.random(in: 0..<20, using: &liar.random),
          positions: 0..<Int.random(in: 1..<9, using: &liar.random)
        )
        _ = try socket.send(.kvRows(header), payloads: [[1, 2, 3], [4, 5]])
      }
    }
    // As long as it takes to leave.
    sockets.forEach { $0.close() }
    usleep(50_000)
  }

  // MARK: Steps

  /// Returns whether it has answered a step in its own way.
  func answer(_ step: Step, _ payloads: [[Float]]) throws -> Bool {
    switch liar.behaviour {
    case .silent, .busy: break
    case .idle: steps += 1
    case .noise, .truncated, .flipped, .oversized: try sendMalformed(step)
    case .otherRows, .vocabulary, .fewTimes, .unwantedLogits, .staleEpoch, .futureEpoch:
      try sendResult(step)
    case .wrongSize where isLast: try sendResult(step)
    case .wrongSize, .otherStep: try sendStep(step)
    case .replayed: try repeatEarlier()
    case .outOfPlace, .stranger: try sendElsewhere(step)
    case .stepFails: try sendFailure(step, .step)
    case .handOffFails: try sendFailure(step, .handOff)
    case .uninvitedKeys, .absurdHeartbeats, .goodbye, .notFinite, .prepareFails, .hangs:
      return false
    }
    return true
  }

  /// A result as the last stage would send it, with tokens that are none.
  private func result(_ step: Step) -> StepDone {
    let results = step.rows.filter { $0.output != .none }.map { row in
      RowResult(slot: row.slot, position: row.position, token: -1, logProbability: 0)
    }
    return StepDone(
      epoch: step.epoch,
      sequence: step.sequence,
      results: results,
      stageMicroseconds: Array(repeating: 1, count: assigned?.stageCount ?? 1)
    )
  }

  private func sendMalformed(_ step: Step) throws {
    let header = try Message.stepDone(result(step)).encoded()
    let frames: [[UInt8]]
    switch liar.behaviour {
    case .truncated: frames = [Array(header.prefix(header.count / 2 + 1))]
    case .flipped: frames = [corrupted(header)]
    case .oversized:
      frames =
        step.sequence.isMultiple(of: 2)
        ? [[UInt8](repeating: 8, count: Limits.headerBytes + 1)]
        : [header] + Array(repeating: [0, 0, 0, 0], count: Limits.payloads + 1)
    default:
      frames = (0..<Int.random(in: 1...4, using: &liar.random)).map { _ in
        liar.random.bytes(Int.random(in: 1...300, using: &liar.random))
      }
    }
    for socket in [results, control] + (next.map { [$0] } ?? []) { try socket.send(frames: frames) }
  }

  /// Flips bits until the bytes are no message.
  private func corrupted(_ header: [UInt8]) -> [UInt8] {
    var bytes = header
    while (try? Message(decoding: bytes)) != nil {
      bytes[Int.random(in: bytes.indices, using: &liar.random)] ^=
        1 << UInt8.random(in: 0..<8, using: &liar.random)
    }
    return bytes
  }

  private func sendResult(_ step: Step) throws {
    var done = result(step)
    var payloads: [[Float]] = []
    switch liar.behaviour {
    case .otherRows:
      done.results.append(RowResult(slot: 0, position: 0, token: 1, logProbability: 0))
    case .vocabulary:
      let beyond = Int32(checkpoint.config.vocabularySize)
      for index in done.results.indices {
        done.results[index].token = Bool.random(using: &liar.random) ? beyond : .min
      }
    case .fewTimes: done.stageMicroseconds = []
    case .staleEpoch: done.epoch -= 1
    case .futureEpoch: done.epoch += 1000
    default: payloads = [[Float](repeating: 0, count: 7)]
    }
    if liar.behaviour != .vocabulary {
      for index in done.results.indices { done.results[index].token = 1 }
    }
    _ = try results.send(.stepDone(done), payloads: payloads)
  }

  /// Hands on what does not fit the next stage.
  private func sendStep(_ step: Step) throws {
    var other = step
    var payloads = [[Float](repeating: 0, count: 5)]
    if liar.behaviour == .otherStep {
      other.cleared = [0, 1 << 15]
      other.rows = other.rows.map { row in
        var row = row
        row.position += 1
        return row
      }
      let streams = checkpoint.config.streamCount
      let count = other.rows.count * streams * checkpoint.config.hiddenSize
      payloads = [[Float](repeating: 0, count: count)]
    }
    guard let next else { return try sendFailure(step, .step) }
    _ = try next.send(.step(other), payloads: payloads)
  }

  private func repeatEarlier() throws {
    guard let (message, payloads) = liar.said.randomElement(using: &liar.random) else { return }
    _ = try (next ?? results).send(message, payloads: payloads)
  }

  private func sendElsewhere(_ step: Step) throws {
    if liar.behaviour == .stranger {
      let socket = try Socket(context, role: .dealer)
      try socket.connect(coordinator)
      _ = try socket.send(.stepDone(result(step)))
      socket.close()
      return
    }
    guard isLast else {
      // Likely tokens, for once: they are not this stage's to draw.
      var done = result(step)
      for index in done.results.indices { done.results[index].token = 1 }
      _ = try results.send(.stepDone(done))
      return
    }
    for _ in 0..<3 { _ = try results.send(.commit(Commit(epoch: step.epoch))) }
  }

  /// Returns activations as a hostile worker hands them on.
  func spoiled(_ activations: [[Float]]) -> [[Float]] {
    guard liar.behaviour == .notFinite else { return activations }
    return activations.map { Array(repeating: .nan, count: $0.count) }
  }

  func sendFailure(
    _ step: Step,
    _ code: FailureCode,
    _ reason: String = "a lie",
    slots: [Int] = []
  ) throws {
    let failure = StepFailed(
      epoch: step.epoch,
      sequence: step.sequence,
      worker: "somebody else",
      code: code,
      message: reason,
      slots: slots
    )
    _ = try results.send(.stepFailed(failure))
  }
}
