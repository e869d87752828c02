// Workers without sockets and without arithmetic: they keep each slot's tokens as a real stage keeps
// keys and values, refuse what a real stage refuses, and answer with numbers that follow from all
// the tokens before, so that a lost or repeated token shows.

import Wire

/// What stands in for a model: every answer follows from the tokens so far.
struct FakeModel: Sendable {
  var vocabularySize: Int
  /// A text to continue with, by position; beyond it, and without one, tokens are hashes.
  var script: [Int: Int32] = [:]

  private func hash(_ tokens: some Sequence<Int32>, _ salt: UInt64) -> UInt64 {
    // FNV-1a's step, over whole tokens, and a last mix.
    var state: UInt64 = 0xCBF2_9CE4_8422_2325 ^ salt
    for token in tokens {
      state = (state ^ UInt64(UInt32(bitPattern: token))) &* 0x100_0000_01B3
    }
    return (state ^ (state >> 29)) &* 0xBF58_476D_1CE4_E5B9 >> 16
  }

  /// The token that follows.
  func next(_ tokens: [Int32], _ sampling: Sampling) -> Int32 {
    if let scripted = script[tokens.count] { return scripted }
    // 0 to 2 are the structure tokens of a small vocabulary: they would end every other answer.
    return Int32(3 + hash(tokens, sampling.seed) % UInt64(vocabularySize - 3))
  }

  func score(_ tokens: [Int32], target: Int32) -> Double {
    -Double(hash(tokens + [target], 1) % 10_000) / 1000
  }

  /// One row of logits; enough of it differs from row to row.
  func logits(_ tokens: [Int32]) -> [Float] {
    let value = Float(hash(tokens, 2) % 100_000)
    return (0..<vocabularySize).map { value + Float($0) }
  }

  /// What a session must get: the tokens that follow a prompt, until one of `ends`, or so many.
  func continuation(
    of prompt: [Int32],
    _ sampling: Sampling,
    count: Int,
    ends: Set<Int32> = []
  ) -> [Int32] {
    var tokens = prompt
    while tokens.count < prompt.count + count {
      let token = next(tokens, sampling)
      if ends.contains(token) { break }
      tokens.append(token)
    }
    return Array(tokens[prompt.count...])
  }
}

/// One life of one worker process.
final class FakeWorker {
  enum Outcome {
    /// Behind the last layer with what the rows' answers follow from: the tokens of each wanted row, and a
    /// tensor of the logits so far.
    case handOff(Step, [[Float]], to: String)
    case done(StepDone, [[Float]])
    case failed(StepFailed)
  }

  /// Keys and values on their way to another worker: the tokens they stand for.
  typealias Rows = (endpoint: String, header: KVRows, payloads: [[Float]])

  /// The layers of an epoch with their caches.
  private struct Holding {
    let assign: Assign
    /// By layer and slot: the tokens whose keys and values are there.
    var caches: [Int: [Int: [Int32]]] = [:]
    /// By slot: how many positions have passed; all that a stage without layers keeps.
    var counts: [Int: Int] = [:]
    var move: Move?
    var imported = 0

    /// The layers whose keys and values it keeps.
    var layers: Set<Int> { Set((assign.firstLayer..<assign.endLayer).map(Harness.kvSource)) }

    var isLast: Bool { assign.stage == assign.stageCount - 1 }
  }

  let hello: Hello
  /// Its control socket, and the socket that its results come from.
  let control: PeerID
  let results: PeerID
  let model: FakeModel
  /// The place the coordinator gave it.
  var place: String?
  /// What it is asked to prepare, until it is done.
  var preparing: Assign?
  private var running: Holding?
  private var prepared: Holding?
  /// The assignment it has prepared last, in place or not.
  var lastPrepared: Assign? { (prepared ?? running)?.assign }
  /// When it says that its steps begin, by its own clock; nil if it does not say.
  var beganMicroseconds: UInt64?
  /// How long a step takes; nil for some microseconds.
  var stepMicroseconds: ((Assign) -> UInt64)?
  /// Why the next step fails; nil if it does not.
  var nextFailure: FailureCode?
  /// Its process is stopped: it takes nothing, computes nothing and says nothing.
  var isAsleep = false
  /// A token whose rows become no finite numbers.
  var poison: Int32?

  init(_ hello: Hello, life: Int, model: FakeModel, key: PublicKey? = nil) {
    var hello = hello
    self.model = model
    control = PeerID([0xC0, UInt8(life >> 8), UInt8(life & 255)], key: key)
    results = PeerID([0xD0, UInt8(life >> 8), UInt8(life & 255)], key: key)
    hello.resultsIdentity = PeerID(results.bytes)
    // Each life listens elsewhere.
    hello.dataEndpoint =
      hello.dataEndpoint.hasPrefix("tcp:")
      ? "tcp://10.0.\(life >> 8).\(life & 255):7000" : "\(hello.dataEndpoint).\(life)"
    self.hello = hello
  }

  /// Puts the stage that is being prepared beside the one that runs, and says so.
  func finishPreparing() -> Message? {
    guard let assign = preparing else { return nil }
    preparing = nil
    guard assign.epoch > abandoned else { return nil }
    prepared = Holding(assign: assign)
    return .prepared(Prepared(epoch: assign.epoch))
  }

  /// Gives up what it is asked to prepare, and says so.
  func failPreparing(_ reason: String) -> Message? {
    guard let assign = preparing else { return nil }
    preparing = nil
    return .prepareFailed(PrepareFailed(epoch: assign.epoch, code: .memory, message: reason))
  }

  // MARK: Epochs

  /// Returns what is sent to others.
  func begin(_ move: Move) -> [Rows] {
    if move.isEarly { return beginEarly(move) }
    let live = move.slots.filter { $0.positionCount > 0 }
    if var next = prepared, next.assign.epoch == move.epoch {
      next.move = move
      for state in live { next.counts[state.slot] = state.positionCount }
      for layer in next.layers {
        for state in live {
          guard let tokens = running?.caches[layer]?[state.slot] else { continue }
          next.caches[layer, default: [:]][state.slot] = tokens
        }
      }
      prepared = next
    } else {
      leaving = move
    }
    return move.exports.flatMap { export in
      live.map { state in
        let tokens = running?.caches[export.layer]?[state.slot] ?? []
        let sent = sentEarly[export.layer]?[state.slot]
        let header = KVRows(
          epoch: move.epoch,
          layer: export.layer,
          slot: state.slot,
          positions: (sent ?? 0)..<tokens.count,
          continues: sent != nil
        )
        return (export.endpoint, header, [tokens[(sent ?? 0)...].map { Float($0) }, []])
      }
    }
  }

  /// By layer and slot: how many positions were sent early, while the slot only grows.
  private var sentEarly: [Int: [Int: Int]] = [:]
  /// The epoch of an early move that is not reported yet.
  private var early: UInt32?

  private func beginEarly(_ move: Move) -> [Rows] {
    early = move.epoch
    return move.exports.flatMap { export in
      move.slots.compactMap { state -> Rows? in
        guard let tokens = running?.caches[export.layer]?[state.slot], !tokens.isEmpty else {
          return nil
        }
        sentEarly[export.layer, default: [:]][state.slot] = tokens.count
        let header = KVRows(
          epoch: move.epoch,
          layer: export.layer,
          slot: state.slot,
          positions: 0..<tokens.count,
          isEarly: true
        )
        return (export.endpoint, header, [tokens.map { Float($0) }, []])
      }
    }
  }

  /// The move of a worker that holds no layers afterwards.
  private var leaving: Move?

  func take(_ header: KVRows, _ payloads: [[Float]]) {
    guard prepared?.assign.epoch == header.epoch else { return }
    let held = prepared?.caches[header.layer]?[header.slot] ?? []
    // What follows on nothing stays short, and is found out when the move is complete.
    let kept = header.continues ? held.prefix(header.positions.lowerBound) : []
    prepared?.caches[header.layer, default: [:]][header.slot] = kept + payloads[0].map { Int32($0) }
    if !header.isEarly { prepared?.imported += 1 }
  }

  /// Returns what it says when a move is complete, once.
  func completeMove() -> Message? {
    if let epoch = early {
      early = nil
      return .moved(Moved(epoch: epoch, sentBytes: 1))
    }
    if let move = leaving {
      leaving = nil
      return .moved(Moved(epoch: move.epoch, sentBytes: 1))
    }
    guard let next = prepared, let move = next.move, next.imported == move.imports else {
      return nil
    }
    prepared?.imported = -1
    for layer in next.layers {
      for state in move.slots where state.positionCount > 0 {
        let count = next.caches[layer]?[state.slot]?.count ?? 0
        guard count == state.positionCount else {
          let reason = "layer \(layer), slot \(state.slot): \(count) of \(state.positionCount)"
          return .prepareFailed(PrepareFailed(epoch: move.epoch, code: .step, message: reason))
        }
      }
    }
    return .moved(Moved(epoch: move.epoch, sentBytes: 1))
  }

  func commit(_ epoch: UInt32) {
    guard epoch > running?.assign.epoch ?? 0 else { return }
    guard prepared.map({ $0.assign.epoch == epoch }) ?? true else { return }
    let live = Set(prepared?.move?.slots.map(\.slot) ?? [])
    var next = prepared
    next?.caches = prepared?.caches.mapValues { $0.filter { live.contains($0.key) } } ?? [:]
    next?.counts = prepared?.counts.filter { live.contains($0.key) } ?? [:]
    running = next
    prepared = nil
    sentEarly = [:]
  }

  private var abandoned: UInt32 = 0

  func abandon(_ epoch: UInt32) {
    sentEarly = [:]
    abandoned = max(abandoned, epoch)
    if prepared?.assign.epoch == epoch { prepared = nil }
    if leaving?.epoch == epoch { leaving = nil }
  }

  // MARK: Steps

  func run(_ step: Step, _ payloads: [[Float]]) -> Outcome {
    if step.epoch == prepared?.assign.epoch { commit(step.epoch) }
    guard let running, step.epoch == running.assign.epoch else {
      return fail(step, .step, "step of epoch \(step.epoch)")
    }
    if let failure = nextFailure {
      nextFailure = nil
      // A stage that cannot hand on has computed its part.
      if failure == .handOff { _ = advance(step, running.assign) }
      guard failure == .notFinite else { return fail(step, failure, "as the test wants") }
      if let reason = advance(step, running.assign) { return fail(step, .step, reason) }
      return fail(step, failure, "layer 0: NaN", slots: step.rows.prefix(1).map(\.slot))
    }
    if let reason = advance(step, running.assign) { return fail(step, .step, reason) }
    let poisoned = Set(step.rows.filter { $0.token == poison }.map(\.slot))
    if !poisoned.isEmpty {
      return fail(step, .notFinite, "layer 1: NaN", slots: poisoned.sorted())
    }
    var next = step
    let microseconds = stepMicroseconds?(running.assign) ?? UInt64(10 + running.assign.stage)
    next.stageMicroseconds.append(microseconds)
    if let beganMicroseconds { next.stageBeganMicroseconds.append(beganMicroseconds) }
    let wanted = step.rows.filter { $0.output != .none }
    guard let hidden = hiddenRows(wanted, payloads) else {
      return fail(step, .step, "\(payloads.map(\.count)) for \(wanted.count) rows")
    }
    guard running.isLast else {
      let isBehindLayers = running.assign.endLayer == Harness.layerCount
      let handed = hidden.map { $0.tokens.map { Float($0) } } + [hidden.flatMap(\.logits)]
      return .handOff(next, isBehindLayers ? handed : [], to: running.assign.nextEndpoint)
    }
    let (results, logits) = answers(to: wanted, hidden)
    let done = StepDone(
      epoch: step.epoch,
      sequence: step.sequence,
      results: results,
      stageMicroseconds: next.stageMicroseconds,
      stageBeganMicroseconds: next.stageBeganMicroseconds
    )
    return .done(done, logits.isEmpty ? [] : [logits])
  }

  private func fail(
    _ step: Step,
    _ code: FailureCode,
    _ reason: String,
    slots: [Int] = []
  ) -> Outcome {
    .failed(
      StepFailed(
        epoch: step.epoch,
        sequence: step.sequence,
        worker: place ?? hello.name,
        code: code,
        message: reason,
        slots: slots
      )
    )
  }

  /// Clears, forks and fills the slots; returns why the step does not fit, and then has filled none.
  private func advance(_ step: Step, _ assign: Assign) -> String? {
    guard step.rows.count <= assign.maxRows else { return "\(step.rows.count) rows" }
    guard var holding = running else { return "no layers" }
    for slot in step.cleared + step.forks.map(\.target) {
      for layer in sentEarly.keys { sentEarly[layer]?[slot] = nil }
    }
    if holding.layers.isEmpty {
      if let reason = count(step, &holding.counts) { return reason }
    }
    for layer in holding.layers {
      var slots = holding.caches[layer] ?? [:]
      for slot in step.cleared { slots[slot] = nil }
      for fork in step.forks {
        let tokens = slots[fork.source] ?? []
        guard tokens.count >= fork.positionCount else {
          return "slot \(fork.source) holds \(tokens.count), a fork wants \(fork.positionCount)"
        }
        slots[fork.target] = Array(tokens.prefix(fork.positionCount))
      }
      for row in step.rows {
        guard (0..<assign.slots).contains(row.slot), row.position < assign.contextTokens else {
          return "slot \(row.slot), position \(row.position) out of bounds"
        }
        let count = slots[row.slot]?.count ?? 0
        guard count == row.position else {
          return "slot \(row.slot) holds \(count) positions, the row is at \(row.position)"
        }
        slots[row.slot, default: []].append(row.token)
      }
      holding.caches[layer] = slots
    }
    running = holding
    return nil
  }

  /// What `advance` does in a stage without layers.
  private func count(_ step: Step, _ counts: inout [Int: Int]) -> String? {
    for slot in step.cleared { counts[slot] = nil }
    for fork in step.forks {
      guard counts[fork.source] ?? 0 >= fork.positionCount else {
        return "slot \(fork.source) has \(counts[fork.source] ?? 0), not \(fork.positionCount)"
      }
      counts[fork.target] = fork.positionCount
    }
    for row in step.rows {
      guard counts[row.slot] ?? 0 == row.position else {
        return "slot \(row.slot) has \(counts[row.slot] ?? 0) positions, not \(row.position)"
      }
      counts[row.slot, default: 0] += 1
    }
    return nil
  }

  /// A wanted row behind the last layer: the tokens its answer follows from, and its logits so far.
  private typealias HiddenRow = (tokens: [Int32], logits: [Float])

  /// Returns the wanted rows with this stage's logits; nil if the stage before has not handed on what they
  /// need.
  private func hiddenRows(_ wanted: [StepRow], _ payloads: [[Float]]) -> [HiddenRow]? {
    guard let running else { return nil }
    let (first, end) = (running.assign.firstVocabularyRow, running.assign.endVocabularyRow)
    guard running.layers.isEmpty else {
      let slots = running.layers.max().flatMap { running.caches[$0] }
      return wanted.map { row in
        let tokens = Array((slots?[row.slot] ?? []).prefix(row.position + 1))
        let logits = model.logits(tokens)
        return (tokens, running.isLast ? logits : Array(logits[..<end]))
      }
    }
    guard payloads.count == wanted.count + 1, payloads.last?.count == wanted.count * first,
      running.isLast == (end == model.vocabularySize)
    else { return nil }
    return wanted.indices.map { index in
      let tokens = payloads[index].map { Int32($0) }
      let before = payloads[wanted.count][(index * first)..<((index + 1) * first)]
      return (tokens, Array(before + model.logits(tokens)[first..<end]))
    }
  }

  private func answers(
    to wanted: [StepRow],
    _ hidden: [HiddenRow]
  ) -> (results: [RowResult], logits: [Float]) {
    var results: [RowResult] = []
    var logits: [Float] = []
    for (row, hidden) in zip(wanted, hidden) {
      let tokens = hidden.tokens
      var result = RowResult(
        slot: row.slot,
        position: row.position,
        token: 0,
        logProbability: 0
      )
      switch row.output {
      case .none: continue
      case .sample(let sampling): result.token = model.next(tokens, sampling)
      case .logits: logits += hidden.logits
      case .score(let target):
        result.token = target
        result.logProbability = model.score(tokens, target: target)
      }
      results.append(result)
    }
    return (results, logits)
  }
}
