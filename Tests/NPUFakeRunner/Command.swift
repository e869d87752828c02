// The command that finds the NPU: started, told of signals, waited for.

internal import Foundation
internal import Glibc

enum Command {
  /// Signals that the command gets when npu-fake gets them; those of a terminal it gets by itself.
  private static let passed = [SIGTERM, SIGHUP]
  private static let ignored = [SIGINT, SIGQUIT]

  /// Has this thread, and those that it starts, leave signals to `run`.
  ///
  /// Call it before any thread is started.
  static func holdSignals() {
    var signals = held
    unsafe pthread_sigmask(SIG_BLOCK, &signals, nil)
  }

  private static var held: sigset_t {
    var signals = sigset_t()
    unsafe sigemptyset(&signals)
    for signal in passed + ignored + [SIGCHLD] { unsafe sigaddset(&signals, signal) }
    return signals
  }

  /// Runs a command to its end.
  ///
  /// - Parameters:
  ///   - command: The program, which is searched for, and its arguments.
  ///   - environment: Its environment.
  /// - Returns: What to exit with: its own status, or 128 and the signal that ended it, as shells do.
  /// - Throws: `ServerError` if it cannot be started.
  static func run(
    _ command: [String],
    _ environment: [String: String]
  ) throws(ServerError) -> CInt {
    var child: pid_t = 0
    var attributes = posix_spawnattr_t()
    unsafe posix_spawnattr_init(&attributes)
    defer { unsafe posix_spawnattr_destroy(&attributes) }
    var none = sigset_t()
    unsafe sigemptyset(&none)
    unsafe posix_spawnattr_setsigmask(&attributes, &none)
    unsafe posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK))
    var arguments: [UnsafeMutablePointer<CChar>?] = unsafe command.map { unsafe strdup($0) } + [nil]
    var variables: [UnsafeMutablePointer<CChar>?] =
      unsafe environment.map { unsafe strdup("\($0.key)=\($0.value)") } + [nil]
    defer {
      for index in unsafe arguments.indices { unsafe free(arguments[index]) }
      for index in unsafe variables.indices { unsafe free(variables[index]) }
    }
    let status = unsafe posix_spawnp(&child, command[0], nil, &attributes, &arguments, &variables)
    guard status == 0 else {
      errno = status
      throw ServerError(command[0])
    }
    return wait(for: child)
  }

  private static func wait(for child: pid_t) -> CInt {
    var signals = held
    while true {
      var signal: CInt = 0
      unsafe sigwait(&signals, &signal)
      if passed.contains(signal) { kill(child, signal) }
      var status: CInt = 0
      guard signal == SIGCHLD, unsafe waitpid(child, &status, WNOHANG) == child else { continue }
      let ended = status & 0x7F
      return ended == 0 ? status >> 8 & 0xFF : 128 + ended
    }
  }
}
