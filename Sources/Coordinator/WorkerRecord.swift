// What the coordinator knows of one worker: who it is, when it was last heard, how far it has come with
// its layers, and what it has shown that it cannot do.

internal import Compute
internal import Platform
internal import Wire

/// A worker that has been welcomed.
struct WorkerRecord: Sendable {
  let peer: PeerID
  let hello: Hello
  /// What it computes on.
  let device: DeviceDescription
  /// The last epoch whose layers it has prepared.
  private(set) var preparedEpoch: UInt32?
  private(set) var lastHeard: ContinuousClock.Instant
  private(set) var heartbeat: Heartbeat?
  /// When its heartbeats last showed that it computes.
  private(set) var lastProgress: ContinuousClock.Instant
  /// When it was last told to prepare layers, or last came further with them.
  private(set) var lastLoaded: ContinuousClock.Instant
  private(set) var inability = Inability()
  /// What its device cannot run.
  private(set) var obstacles = DeviceObstacles()
  /// Messages that no honest worker sends.
  private(set) var nonsense = 0
  /// How many steps it said it had run when the epoch began.
  private(set) var stepsBefore: UInt64 = 0
  private(set) var clock = WorkerClock()

  init(
    _ hello: Hello,
    on device: DeviceDescription,
    peer: PeerID,
    at now: ContinuousClock.Instant
  ) {
    self.peer = peer
    self.hello = hello
    self.device = device
    lastHeard = now
    lastProgress = now
    lastLoaded = now
  }

  /// Whether it has said that it ran a step in this epoch.
  var hasRunSteps: Bool { (heartbeat?.steps ?? 0) > stepsBefore }

  /// Takes a heartbeat.
  ///
  /// - Parameters:
  ///   - heartbeat: What the worker says of itself.
  ///   - now: When it came.
  ///   - systemNow: The same by the clock that all processes of the machine share.
  mutating func hear(
    _ heartbeat: Heartbeat,
    at now: ContinuousClock.Instant,
    systemNow: ContinuousClock.Instant
  ) {
    lastHeard = now
    if heartbeat.stepInProgressMicroseconds > 0 || heartbeat.steps != self.heartbeat?.steps {
      lastProgress = now
    }
    if heartbeat.loadFraction != self.heartbeat?.loadFraction { lastLoaded = now }
    self.heartbeat = heartbeat
    // The sender's word: 1e300 is a number, too, and no percentage.
    self.heartbeat?.loadFraction = min(1, max(0, heartbeat.loadFraction))
    clock.hear(heartbeat.clockMicroseconds, at: systemNow.microsecondsSinceBoot)
  }

  /// Notes that it is told to prepare layers.
  mutating func beginLoading(at now: ContinuousClock.Instant) { lastLoaded = now }

  /// Notes that it has prepared the layers of an epoch.
  mutating func prepared(_ epoch: UInt32) { preparedEpoch = epoch }

  /// Begins an epoch's own count of steps.
  mutating func beginEpoch() { stepsBefore = heartbeat?.steps ?? 0 }

  /// Counts a message that no honest worker sends; returns how many there have been.
  mutating func countNonsense() -> Int {
    nonsense += 1
    return nonsense
  }

  /// Notes that it could not prepare so much, and why.
  mutating func failedToHold(bytes: Double, _ reason: String) {
    inability.add(bytes: bytes, reason)
  }

  /// Notes what its device cannot run, as far as the device's description tells.
  mutating func describe(_ obstacles: DeviceObstacles) { self.obstacles = obstacles }

  /// Notes that its device cannot run these layers, or compute logits: for ever, unlike an inability.
  mutating func refuse(layers: [Int], logits: Bool, _ reason: String) {
    obstacles.add(layers: layers, logits: logits, reason)
  }

  /// Lets it try again what it had too little memory for.
  mutating func forgetInability() { inability = Inability() }
}

/// What a worker has shown that it cannot hold.
struct Inability: Sendable {
  /// After so many failures a worker gets no layers at all: a smaller slice did not help.
  private static let mostFailures = 2

  private var failures = 0
  /// The smallest slice that it could not prepare, in bytes held.
  private var bytes = Double.infinity
  /// Why it failed the last time, in a sentence; nil if it never has.
  private(set) var reason: String?

  mutating func add(bytes: Double, _ reason: String) {
    failures += 1
    self.bytes = min(self.bytes, bytes)
    self.reason = reason
  }

  /// Whether it must not be given so much.
  func excludes(_ bytes: Double) -> Bool { bytes >= self.bytes || isTotal }

  /// Whether it must not be given anything.
  var isTotal: Bool { failures >= Self.mostFailures }
}
