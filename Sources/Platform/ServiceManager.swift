// What this process tells the service manager that started it, such as systemd: that it is ready, what it does, and
// that it lives. The protocol is that of sd_notify(3), datagrams to a socket that the environment names; nothing of
// systemd is linked. Without such a socket nothing is told, and no failure to tell anything ends a program.

internal import Glibc

/// The service manager of this process.
///
/// Signs of life come from the loop whose life they stand for, in its own turns, and never from a timer beside it: a
/// loop that hangs is silent, and the manager starts the program again (WatchdogSec= of systemd.service(5)).
package final class ServiceManager: Sendable {
  private struct State {
    /// Whether the manager could not take that the program is ready yet, because its queue was full.
    var owesReady = false
    var status = ""
    var statusAsked: ContinuousClock.Instant?
    var lastSign: ContinuousClock.Instant?
  }

  private let destination: Destination?
  /// How often a sign of life is sent; nil if nobody waits for one.
  private let signPeriod: Duration?
  private let state = Lock(State())

  /// No manager: nothing is told to anybody.
  package static let absent = ServiceManager(socket: nil, watchdogMicroseconds: nil)

  /// How often a loop is asked for its status.
  private static let statusPeriod = Duration.seconds(1)

  /// Returns the manager that the environment names, and removes it from there: the manager hears one process only,
  /// and must not take a child's words for this one's.
  ///
  /// It must be called before any other thread starts, because it changes the environment.
  package static func fromEnvironment() -> ServiceManager {
    let names = ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"]
    let values = names.map { name in unsafe getenv(name).map { unsafe String(cString: $0) } }
    for name in names { unsafe unsetenv(name) }
    return ServiceManager(
      socket: values[0],
      watchdogMicroseconds: values[1],
      watchdogProcess: values[2]
    )
  }

  /// - Parameters:
  ///   - socket: The value of `NOTIFY_SOCKET`: an absolute path, or `@` and an abstract name. Nobody is told anything at
  ///     any other address.
  ///   - watchdogMicroseconds: The value of `WATCHDOG_USEC`: after such a silence the manager ends the program.
  ///   - watchdogProcess: The value of `WATCHDOG_PID`: whose silence that is; nil for this process.
  init(socket: String?, watchdogMicroseconds: String?, watchdogProcess: String? = nil) {
    destination = socket.flatMap { Destination($0) }
    let isWatched = watchdogProcess.map { $0 == "\(getpid())" } ?? true
    // A third of it: one late sign is no silence. A sign is due at least every day, so that sums stay in range.
    signPeriod = watchdogMicroseconds.flatMap { Int64($0) }.flatMap { microseconds in
      isWatched && microseconds > 0 ? .microseconds(min(microseconds / 3, 86_400_000_000)) : nil
    }
  }

  /// Whether there is one.
  package var isPresent: Bool { destination != nil }

  /// Tells that the program does what it was started for.
  package func tellReady() {
    state.withLock { state in state.owesReady = !tell("READY=1") }
  }

  /// Tells that the program ends, by request or by a failure.
  package func tellStopping() {
    state.withLock { state in
      state.owesReady = false
      _ = tell("STOPPING=1")
    }
  }

  /// Tells what the program does, in a line; nothing if that is what was told last.
  package func tell(status: String) {
    state.withLock { tell(status, &$0) }
  }

  /// Tells that a loop lives and what it does, if either is due; called by that loop in each of its turns.
  ///
  /// - Parameters:
  ///   - now: The time of the turn.
  ///   - status: What the loop does; asked for once a second.
  package func takeTurn(
    at now: ContinuousClock.Instant = .now,
    status: @autoclosure () -> String? = nil
  ) {
    guard isPresent else { return }
    state.withLock { state in
      if state.owesReady { state.owesReady = !tell("READY=1") }
      if isDue(since: state.statusAsked, Self.statusPeriod, now) {
        state.statusAsked = now
        if let status = status() { tell(status, &state) }
      }
      guard let signPeriod, isDue(since: state.lastSign, signPeriod, now) else { return }
      // One that was not taken is tried again in the next turn.
      if tell("WATCHDOG=1") { state.lastSign = now }
    }
  }

  private func isDue(
    since last: ContinuousClock.Instant?,
    _ period: Duration,
    _ now: ContinuousClock.Instant
  ) -> Bool {
    last.map { now - $0 >= period } ?? true
  }

  private func tell(_ status: String, _ state: inout State) {
    let line = status.split(whereSeparator: \.isNewline).joined(separator: " ")
    guard line != state.status else { return }
    if tell("STATUS=\(line)") { state.status = line }
  }

  /// Sends an assignment; returns false if it should be tried again.
  private func tell(_ assignment: String) -> Bool { destination?.send(assignment) ?? true }
}

/// A socket at which datagrams are taken.
private final class Destination: Sendable {
  private let descriptor: CInt
  private let address: sockaddr_un
  private let size: socklen_t

  /// - Returns: nil if the name is none for a socket, or if this process has no descriptor left.
  init?(_ name: String) {
    let path = Array(name.utf8)
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    let capacity = MemoryLayout.size(ofValue: address.sun_path)
    // An abstract name is as long as the address says; a path ends at a zero.
    let isAbstract = path.first == UInt8(ascii: "@")
    guard isAbstract || path.first == UInt8(ascii: "/"), path.count > 1,
      path.count + (isAbstract ? 0 : 1) <= capacity
    else { return nil }
    unsafe withUnsafeMutableBytes(of: &address.sun_path) { field in
      unsafe field.copyBytes(from: path)
      if isAbstract { unsafe field[0] = 0 }
    }
    // It does not block: a loop that waited for its manager would look as if it hung. SOCK_ flags have O_'s values.
    let type = CInt(SOCK_DGRAM.rawValue) | O_NONBLOCK | O_CLOEXEC
    descriptor = socket(AF_UNIX, type, 0)
    guard descriptor >= 0 else { return nil }
    self.address = address
    let length = MemoryLayout<sa_family_t>.size + path.count + (isAbstract ? 0 : 1)
    size = socklen_t(length)
  }

  deinit { close(descriptor) }

  /// Sends a datagram; returns false if the queue is full.
  ///
  /// Any other failure, such as a manager that has gone, is final for this datagram. The socket is not connected, so
  /// that a manager which comes back at the same name is told the next one.
  func send(_ text: String) -> Bool {
    let bytes = Array(text.utf8)
    let count = unsafe withUnsafePointer(to: address) { pointer in
      unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic in
        unsafe sendto(descriptor, bytes, bytes.count, 0, generic, size)
      }
    }
    return count >= 0 || (errno != EAGAIN && errno != ENOBUFS && errno != EINTR)
  }
}
