// The placement that runs and its phase, the numbers of placements, and whether they make progress.
// PlacementMove.swift has the placement that is prepared beside the running one.

/// The placement that runs, or is gathered for, and its number.
///
///   gathering ──all workers here──► preparing ──all prepared──► serving (and perhaps a move)
///       ▲                               │                          │
///       └──────── a worker lost ────────┴──────────────────────────┘
///
/// Invariants:
/// * No number is given twice, and `number` is one that was given: 0 before the first.
/// * A move is there only while its old placement serves, and its number is the last that was given.
/// * Only a prepared placement serves, and only a serving one can complete a step.
struct Epoch: Sendable {
  /// How far the placement has come.
  enum Phase: Sendable {
    /// Its workers are waited for.
    case gathering(since: ContinuousClock.Instant)
    /// Its workers prepare their layers.
    case preparing
    /// Steps run, and the next placement may be prepared beside.
    case serving(move: PlacementMove?)
    /// The user has asked to stop.
    case stopping
  }

  /// How many placements in a row may complete no step before the service ends.
  static let mostFruitless = 8
  /// From this many placements in a row without a completed step on, a worker is held to be at fault.
  ///
  /// One such placement may be due to a message that was lost with its connection.
  static let unlucky = 1

  private(set) var phase: Phase
  /// Who holds what.
  private(set) var plan: [PlannedWorker]
  /// The number of the placement that runs, or ran last.
  private(set) var number: UInt32 = 0
  /// The highest number given to any placement.
  private(set) var lastNumber: UInt32 = 0
  /// Placements since a step last came back.
  private(set) var fruitless = 0
  /// Whether a step has come back in this placement.
  private(set) var isProven = false
  /// Whether any placement has served.
  private(set) var hasServed = false
  /// Whether lost workers have been waited for as long as requests wait, and nothing has served since.
  private(set) var isOverdue = false

  init(plan: [PlannedWorker], at now: ContinuousClock.Instant) {
    self.plan = plan
    phase = .gathering(since: now)
  }

  // MARK: What it is at

  /// The phase in one word.
  var phaseName: String {
    switch phase {
    case .gathering: "gathering"
    case .preparing: "preparing"
    case .serving: "serving"
    case .stopping: "stopping"
    }
  }

  /// Since when workers are gathered; nil in any other phase.
  var gatheringSince: ContinuousClock.Instant? {
    if case .gathering(let since) = phase { since } else { nil }
  }

  var isGathering: Bool { gatheringSince != nil }
  var isPreparing: Bool { if case .preparing = phase { true } else { false } }
  var isServing: Bool { if case .serving = phase { true } else { false } }
  var isStopping: Bool { if case .stopping = phase { true } else { false } }

  /// The placement that is prepared beside the one that runs; nil if there is none.
  var move: PlacementMove? { if case .serving(let move) = phase { move } else { nil } }

  /// Whether steps may begin: a move that waits for the last ones lets none begin.
  var letsStepsStart: Bool {
    if case .serving(let move) = phase { move?.letsStepsStart ?? true } else { false }
  }

  /// Whether so many placements have completed no step that a worker must be at fault.
  var isBeyondBadLuck: Bool { fruitless > Self.unlucky }

  /// The stage of a worker; nil if it holds nothing.
  func stage(of worker: String) -> Int? { plan.firstIndex { $0.name == worker } }

  func holds(_ worker: String) -> Bool { stage(of: worker) != nil }

  // MARK: From phase to phase

  /// Stops what runs, and a move with it; its workers are gathered anew.
  ///
  /// Who gathers already goes on with that, and nothing begins anew once the service stops.
  mutating func gather(at now: ContinuousClock.Instant) {
    if isPreparing || isServing { phase = .gathering(since: now) }
  }

  /// Begins the time of waiting for workers anew, after it has ended.
  mutating func gatherLonger(at now: ContinuousClock.Instant) {
    guard isGathering else { return }
    phase = .gathering(since: now)
    isOverdue = true
  }

  /// Gives the workers that are waited for other things to hold.
  ///
  /// - Precondition: They are being gathered: what is prepared or runs changes by a move alone.
  mutating func replan(_ plan: [PlannedWorker]) {
    precondition(isGathering, "a new plan while \(phaseName)")
    self.plan = plan
  }

  /// Has the gathered workers prepare their layers, under a number of its own.
  ///
  /// - Precondition: They are being gathered.
  mutating func prepare() {
    precondition(isGathering, "layers are prepared while \(phaseName)")
    lastNumber += 1
    number = lastNumber
    isProven = false
    phase = .preparing
  }

  /// Notes that all is prepared.
  ///
  /// - Precondition: It was being prepared.
  mutating func serve() {
    precondition(isPreparing, "a placement serves that was \(phaseName)")
    hasServed = true
    isOverdue = false
    phase = .serving(move: nil)
  }

  /// Ends the service for good.
  mutating func stop() { phase = .stopping }

  // MARK: Progress

  /// Notes that a step has come back; returns whether it is the first of this placement.
  mutating func prove() -> Bool {
    fruitless = 0
    defer { isProven = true }
    return !isProven
  }

  /// Counts a placement that is given up because a step was lost.
  ///
  /// - Returns: Whether another may be tried.
  mutating func countFruitless() -> Bool {
    fruitless += 1
    return fruitless < Self.mostFruitless
  }

  // MARK: Moves

  /// Begins to prepare another placement beside the one that runs, and returns its number.
  ///
  /// - Precondition: A placement serves, and no other is prepared beside it.
  mutating func beginMove(
    to plan: [PlannedWorker],
    request: MoveRequest?,
    drained: String?,
    layersMoved: Int,
    at now: ContinuousClock.Instant
  ) -> UInt32 {
    precondition(isServing && move == nil, "a second move, or one while \(phaseName)")
    lastNumber += 1
    let move = PlacementMove(
      epoch: lastNumber,
      plan: plan,
      request: request,
      drained: drained,
      layersMoved: layersMoved,
      since: now,
      awaited: Set(plan.map(\.name))
    )
    phase = .serving(move: move)
    return lastNumber
  }

  /// Changes the move under way; returns nil if there is none.
  @discardableResult
  mutating func updateMove<Answer>(_ change: (inout PlacementMove) -> Answer) -> Answer? {
    guard case .serving(var move?) = phase else { return nil }
    defer { phase = .serving(move: move) }
    return change(&move)
  }

  /// Drops the move under way and returns it; the placement that runs goes on.
  mutating func dropMove() -> PlacementMove? {
    guard let move else { return nil }
    phase = .serving(move: nil)
    return move
  }

  /// Lets the move's placement take the place of the one that ran; returns the move.
  mutating func commitMove() -> PlacementMove? {
    guard let move = dropMove() else { return nil }
    number = move.epoch
    plan = move.plan
    isProven = false
    return move
  }
}

extension Epoch {
  /// - Throws: `BrokenInvariant` with the first promise of the type that does not hold.
  func checkInvariants() throws(BrokenInvariant) {
    try require(
      number <= lastNumber && (move.map { $0.epoch == lastNumber && $0.epoch > number } ?? true),
      "epoch \(number) is \(phaseName), a move to \(move?.epoch ?? 0), the last is \(lastNumber)"
    )
    try require(
      isGathering || isStopping || (number > 0 && !plan.isEmpty),
      "epoch \(number) is \(phaseName) with \(plan.count) stages"
    )
    try require(
      hasServed || !(isServing || isProven),
      "epoch \(number) serves or has proved itself, and none has ever served"
    )
  }
}
