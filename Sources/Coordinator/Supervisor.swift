// Supervises the worker processes that `up` starts: it spawns them, watches them through pidfds,
// kills them when they are stopped, restarts them with exponential backoff, and gives up those that
// keep dying. A start that fails for lack of system resources is retried and counts against no
// worker.

internal import CLinux
internal import Glibc
package import Logging
internal import Platform
internal import Wire

/// How to start one worker.
package struct WorkerCommand: Sendable, Hashable {
  package var name: String
  /// The worker's arguments, beginning with the program's name.
  package var arguments: [String]

  /// The exit status of a worker that ended because of a shortage of the system: EX_TEMPFAIL of
  /// sysexits.h.
  package static let scarceStatus: CInt = 75

  /// The running program itself, even after its file has been replaced.
  static let executable = "/proc/self/exe"

  package init(name: String, arguments: [String]) {
    self.name = name
    self.arguments = arguments
  }

  /// Starts the worker; returns its process, or -1 with the reason in `errno`.
  fileprivate func start(lifeline: CInt) -> pid_t {
    var words = unsafe arguments.map { unsafe strdup($0) } + [nil]
    let pid = unsafe clinux_spawn(Self.executable, &words, lifeline)
    let reason = errno
    unsafe words.forEach { unsafe free($0) }
    errno = reason
    return pid
  }
}

/// Starts and watches worker processes.
///
/// Each worker inherits the reading end of a pipe as descriptor 3, its lifeline. The worker reads
/// end of file when this process ends, however it ends. Only one thread may use a supervisor.
package final class Supervisor {
  /// The exit of a child process.
  struct Exit {
    var name: String
    var how: String
    var willRestart: Bool
  }

  private struct Child {
    let command: WorkerCommand
    var pid: pid_t = 0
    var descriptor: CInt = -1
    var failures = 0
    var started: ContinuousClock.Instant
    var restartAt: ContinuousClock.Instant?
    /// How often in a row its start was postponed for lack of system resources, and since when.
    var postponed = 0
    var postponedSince: ContinuousClock.Instant?
    /// How often in a row it has exited because of a shortage of the system.
    var scarceExits = 0
    /// The signal that stopped the child, if it is being killed for that.
    var stoppedBy: CInt?
    /// Whether the child may end without a restart.
    var isReleased = false
  }

  /// A worker that has died this often, each time within `quickDeath` and before a step came back,
  /// is given up.
  private static let maxFailures = 5
  private static let quickDeath = Duration.seconds(10)

  /// The grace period after a standstill of our own, in which a stopped child is sent SIGCONT and
  /// not killed.
  ///
  /// What stopped this process may have stopped the child too, and the two are resumed one after
  /// the other.
  private static let wakingTime = Duration.seconds(2)

  /// The timeout for a worker's first start; after it a postponed start counts as failed.
  ///
  /// The user who starts a pipeline waits for the first start; later starts are postponed as long
  /// as it takes.
  private static let patience = Duration.seconds(10)

  private var children: [Child]
  private var clock = AwakeClock(now: .now)
  private let spawn: (WorkerCommand, CInt) -> pid_t
  private let watch: (pid_t) -> CInt
  private var lifeline: [CInt] = [-1, -1]
  private let logger: Logger
  private var memory = MemoryKills()
  /// Whether an exited child is restarted.
  ///
  /// This is false until all workers have been ready once, because a worker that cannot even start
  /// would only fail again.
  package var restarts = false

  package convenience init(
    _ commands: [WorkerCommand],
    logger: Logger
  ) throws(CoordinatorError) {
    try self.init(
      commands,
      logger: logger,
      spawn: { $0.start(lifeline: $1) },
      watch: clinux_pidfd_open
    )
  }

  /// Prepares to start workers.
  ///
  /// - Parameters:
  ///   - commands: One command for each worker.
  ///   - logger: Where to log.
  ///   - spawn: Starts a worker with a lifeline; returns its process, or -1 with the reason in
  ///     `errno`.
  ///   - watch: Returns a descriptor that is readable when a process has ended; negative if there
  ///     is none, and then the next `update` notices the exit.
  /// - Throws: `CoordinatorError` if the process has no descriptor left.
  init(
    _ commands: [WorkerCommand],
    logger: Logger,
    spawn: @escaping (WorkerCommand, CInt) -> pid_t,
    watch: @escaping (pid_t) -> CInt
  ) throws(CoordinatorError) {
    self.logger = logger
    self.spawn = spawn
    self.watch = watch
    children = commands.map { Child(command: $0, started: .now) }
    guard unsafe clinux_pipe(&lifeline) == 0 else {
      throw CoordinatorError(.system, "pipe failed: \(systemMessage(errno))")
    }
  }

  deinit {
    for child in children where child.descriptor >= 0 { close(child.descriptor) }
    for descriptor in lifeline where descriptor >= 0 { close(descriptor) }
  }

  /// Starts all workers.
  func startAll() throws(CoordinatorError) {
    for index in children.indices { try startOrPostpone(index) }
  }

  /// Descriptors that are readable when a child has ended.
  ///
  /// Where a container's runtime refuses pidfds, `update` finds the exit by itself, up to 50 ms
  /// later.
  var descriptors: [CInt] { children.map(\.descriptor).filter { $0 >= 0 } }

  var livingCount: Int { children.count { $0.pid > 0 } }

  /// Starts a worker, or postpones its start during a shortage of the system.
  private func startOrPostpone(_ index: Int) throws(CoordinatorError) {
    do throws(CoordinatorError) {
      try start(index)
      children[index].postponed = 0
      children[index].postponedSince = nil
    } catch {
      let since = children[index].postponedSince ?? .now
      guard error.code == .scarce, restarts || .now - since < Self.patience else { throw error }
      children[index].postponedSince = since
      children[index].postponed += 1
      // The backoff is 50, 100, 200 ms … 1.6 s.
      let pause = Duration.milliseconds(50 << min(children[index].postponed - 1, 5))
      children[index].restartAt = .now + pause
      // Only the first, second, fourth, eighth … retry is logged.
      let count = children[index].postponed
      guard count & (count - 1) == 0 else { return }
      logger.warning(
        "worker cannot be started now; retrying",
        metadata: ["worker": "\(children[index].command.name)", "reason": "\(error.message)"]
      )
    }
  }

  private func start(_ index: Int) throws(CoordinatorError) {
    let command = children[index].command
    let pid = spawn(command, lifeline[0])
    guard pid > 0 else {
      throw CoordinatorError(
        Scarcity.isMeant(by: errno) ? .scarce : .worker,
        "cannot start worker \(command.name): \(systemMessage(errno))",
        context: WorkerCommand.executable
      )
    }
    children[index].pid = pid
    // There may be no pidfd, for lack of descriptors or because an old container runtime refuses
    // the call. Then `update` still notices the exit, because it polls every child.
    children[index].descriptor = watch(pid)
    children[index].started = .now
    children[index].restartAt = nil
    logger.debug("worker started", metadata: ["worker": "\(command.name)", "pid": "\(pid)"])
  }

  /// Reaps children that have ended, kills those that are stopped, and restarts those whose backoff
  /// is over.
  ///
  /// A stopped child makes no descriptor readable, so this must be called at least every 50 ms.
  func update() -> [Exit] {
    var exits: [Exit] = []
    _ = clock.read(.now)
    for index in children.indices {
      if let restartAt = children[index].restartAt, .now >= restartAt { exits += restart(index) }
      if let exit = collect(index) { exits.append(exit) }
    }
    return exits
  }

  private func restart(_ index: Int) -> [Exit] {
    do {
      try startOrPostpone(index)
      return []
    } catch {
      children[index].restartAt = nil
      return [
        Exit(name: children[index].command.name, how: error.message, willRestart: false)
      ]
    }
  }

  private func collect(_ index: Int) -> Exit? {
    let pid = children[index].pid
    var status: CInt = 0
    guard pid > 0, unsafe waitpid(pid, &status, WNOHANG | WUNTRACED) == pid else { return nil }
    if let signal = Self.stopSignal(status) {
      if clock.hasStoodStill(within: Self.wakingTime) {
        Glibc.kill(pid, SIGCONT)
        logger.info(
          "stopped worker woken",
          metadata: ["worker": "\(children[index].command.name)", "pid": "\(pid)"]
        )
        return nil
      }
      // A stopped child answers nobody, for an unknown time. SIGKILL reaches a stopped process too.
      children[index].stoppedBy = signal
      Glibc.kill(pid, SIGKILL)
      return nil
    }
    let stopped = children[index].stoppedBy.map { "(pid \(pid)) was stopped by signal \($0)" }
    children[index].stoppedBy = nil
    if children[index].descriptor >= 0 { close(children[index].descriptor) }
    children[index].pid = 0
    children[index].descriptor = -1
    let pause = countExit(index, status)
    let willRestart =
      restarts && !children[index].isReleased && children[index].failures < Self.maxFailures
    if willRestart { children[index].restartAt = .now + pause }
    return Exit(
      name: children[index].command.name,
      how: stopped ?? Self.describe(status, pid: pid) + memory.cause(ofEnd: status),
      willRestart: willRestart
    )
  }

  /// Counts the exit of a child and returns the backoff before its restart.
  private func countExit(_ index: Int, _ status: CInt) -> Duration {
    if status == WorkerCommand.scarceStatus << 8 {
      // The backoff is 100, 200, 400 ms … 3.2 s; a shortage of the system is no failure of the
      // worker.
      children[index].scarceExits = min(children[index].scarceExits + 1, 6)
      return .milliseconds(50 << children[index].scarceExits)
    }
    children[index].scarceExits = 0
    let wasQuick = .now - children[index].started < Self.quickDeath
    children[index].failures = wasQuick ? children[index].failures + 1 : 1
    // The backoff is 50, 100, 200, 400 ms.
    return .milliseconds(25 << children[index].failures)
  }

  /// Returns the signal that has stopped a process; nil if the process has ended.
  ///
  /// It does what `WIFSTOPPED` and `WSTOPSIG` of wait(2) do, which Swift cannot import.
  private static func stopSignal(_ status: CInt) -> CInt? {
    status & 0xFF == 0x7F ? (status >> 8) & 0xFF : nil
  }

  private static func describe(_ status: CInt, pid: pid_t) -> String {
    let signal = status & 0x7F
    if signal == 0, (status >> 8) & 0xFF == CLINUX_CUT_FILE_STATUS {
      return "(pid \(pid)) exited: a model file that it had mapped was cut short, or cannot be read"
    }
    return signal == 0
      ? "(pid \(pid)) exited with status \((status >> 8) & 0xFF)"
      : "(pid \(pid)) was ended by signal \(signal)"
  }

  /// Resets the failure counts, because the workers have worked since.
  func forgive() {
    for index in children.indices { children[index].failures = 0 }
  }

  /// Marks a worker so that it is not restarted when it exits.
  func release(_ name: String) {
    for index in children.indices where children[index].command.name == name {
      children[index].isReleased = true
    }
  }

  /// Kills a worker at once.
  func kill(_ name: String) {
    for child in children where child.command.name == name && child.pid > 0 {
      Glibc.kill(child.pid, SIGKILL)
    }
  }

  /// Waits for all workers to exit, and kills those that have not after `grace`.
  func stopAll(grace: Duration) {
    restarts = false
    for index in children.indices { children[index].restartAt = nil }
    for descriptor in lifeline where descriptor >= 0 { close(descriptor) }
    lifeline = [-1, -1]
    let deadline = ContinuousClock.now + grace
    while livingCount > 0, ContinuousClock.now < deadline {
      _ = update()
      if livingCount > 0 { usleep(2000) }
    }
    for child in children where child.pid > 0 {
      logger.warning(
        "worker did not end within the timeout and is killed",
        metadata: ["worker": "\(child.command.name)", "pid": "\(child.pid)"]
      )
      Glibc.kill(child.pid, SIGKILL)
    }
    while livingCount > 0 {
      _ = update()
      if livingCount > 0 { usleep(2000) }
    }
  }
}
