// A `trestle` process of a test: started with captured output, waited for with a deadline, and
// killed at the end of the test.

import Foundation
import Glibc

/// A failure to start or to await a process; the process's own output is for the tests to judge.
struct ProcessError: Error, CustomStringConvertible {
  var description: String
}

/// How a process ended.
struct Outcome: Sendable, CustomStringConvertible {
  /// The exit status; nil if a signal ended it.
  var status: Int?
  var signal: Int?
  var output: String
  var errors: String
  var arguments: [String]

  /// Everything that helps to understand a failed test.
  var description: String {
    let end = status.map { "exit status \($0)" } ?? "signal \(signal ?? 0)"
    return
      "trestle \(arguments.joined(separator: " ")): \(end)\nstdout: \(output)\nstderr: \(errors)"
  }
}

/// A `trestle` process that is killed at the latest when nothing references it any more.
final class TrestleProcess {
  let pid: pid_t
  private let arguments: [String]
  private let outputFile: AnonymousFile
  private let errorFile: AnonymousFile
  private var waitStatus: CInt?

  /// Starts the program.
  ///
  /// - Parameters:
  ///   - arguments: The arguments after the program's name.
  ///   - input: The content of its stdin.
  ///   - environment: Variables in addition to those of this process.
  ///   - launcher: A command, with its arguments, that starts the program; empty to start it
  ///     directly.
  ///   - descriptors: How many descriptors it and its children may have open; nil for no limit of
  ///     its own.
  /// - Throws: `ProcessError` if it cannot be started.
  init(
    _ arguments: [String],
    input: [UInt8] = [],
    environment: [String: String] = [:],
    launcher: [String] = [],
    descriptors: Int? = nil
  ) throws {
    self.arguments = arguments
    let inputFile = try AnonymousFile(holding: input)
    outputFile = try AnonymousFile()
    errorFile = try AnonymousFile()
    pid = try spawn(
      (descriptors.map { ["/usr/bin/prlimit", "--nofile=\($0):\($0)"] } ?? [])
        + launcher + [Self.program] + arguments,
      environment: environment,
      descriptors: [inputFile.descriptor, outputFile.descriptor, errorFile.descriptor]
    )
  }

  /// Starts the program through a line of sh, in which `"$0" "$@"` is the program.
  convenience init(
    _ arguments: [String],
    input: [UInt8] = [],
    environment: [String: String] = [:],
    shell: String
  ) throws {
    try self.init(
      arguments,
      input: input,
      environment: environment,
      launcher: ["/bin/sh", "-c", shell]
    )
  }

  deinit {
    guard waitStatus == nil else { return }
    kill(pid, SIGKILL)
    var status: CInt = 0
    unsafe waitpid(pid, &status, 0)
  }

  /// The program under test: `TRESTLE_BINARY`, or the one that was built with the tests.
  static let program: String = {
    if let path = ProcessInfo.processInfo.environment["TRESTLE_BINARY"] { return path }
    let bundle = URL(filePath: "/proc/self/exe").resolvingSymlinksInPath()
    return bundle.deletingLastPathComponent().appending(path: "trestle").path
  }()

  /// The stdout so far.
  var output: String { outputFile.text }

  /// The stderr so far.
  var errors: String { errorFile.text }

  /// True until it has ended.
  var isRunning: Bool {
    if waitStatus != nil { return false }
    var status: CInt = 0
    guard unsafe waitpid(pid, &status, WNOHANG) == pid else { return true }
    waitStatus = status
    return false
  }

  func signal(_ number: CInt) { kill(pid, number) }

  /// Waits for the process to end: so long on a machine of its own, and longer on a crowded one.
  ///
  /// - Throws: `ProcessError` with all its output if it does not end in time.
  func wait(atMost limit: Duration = .seconds(25)) async throws -> Outcome {
    let hasEnded = try await eventually(within: limit) { !self.isRunning }
    guard hasEnded, let status = waitStatus else {
      throw ProcessError(
        description: "still runs after \(limit * crowd): "
          + "trestle \(arguments.joined(separator: " "))\nstdout: \(output)\nstderr: \(errors)"
      )
    }
    let signal = Int(status & 0x7F)
    return Outcome(
      status: signal == 0 ? Int(status >> 8) & 0xFF : nil,
      signal: signal == 0 ? nil : signal,
      output: output,
      errors: errors,
      arguments: arguments
    )
  }

  /// Waits until stdout satisfies a condition.
  ///
  /// - Throws: `ProcessError` if the process ends before, or does not get there in time.
  func waitForOutput(
    atMost limit: Duration = .seconds(25),
    _ condition: (String) -> Bool
  ) async throws {
    try await waitFor("output", atMost: limit) { condition(self.output) }
  }

  /// Waits until stderr contains a text so many times.
  ///
  /// A thread of its own writes what the program says there, so a line may come later than an answer or an output that
  /// the program gives after it: what a running program has said is always waited for.
  ///
  /// - Throws: `ProcessError` if the process ends before, or does not get there in time.
  func waitForErrors(
    _ text: String,
    times: Int = 1,
    atMost limit: Duration = .seconds(10)
  ) async throws {
    try await waitFor("\(text) on stderr", atMost: limit) {
      self.errors.ranges(of: text).count >= times
    }
  }

  private func waitFor(
    _ what: String,
    atMost limit: Duration,
    _ condition: () -> Bool
  ) async throws {
    _ = try await eventually(within: limit) { condition() || !self.isRunning }
    guard condition() else {
      throw ProcessError(
        description:
          "the awaited \(what) did not come: trestle \(arguments.joined(separator: " "))\n"
          + "stdout: \(output)\nstderr: \(errors)"
      )
    }
  }

  /// Starts the program and waits for its end.
  static func run(
    _ arguments: [String],
    input: [UInt8] = [],
    environment: [String: String] = [:],
    launcher: [String] = [],
    atMost limit: Duration = .seconds(25)
  ) async throws -> Outcome {
    try await TrestleProcess(
      arguments,
      input: input,
      environment: environment,
      launcher: launcher
    )
    .wait(atMost: limit)
  }

  /// Starts the program through a line of sh and waits for its end.
  static func run(
    _ arguments: [String],
    input: [UInt8] = [],
    environment: [String: String] = [:],
    shell: String,
    atMost limit: Duration = .seconds(25)
  ) async throws -> Outcome {
    try await TrestleProcess(arguments, input: input, environment: environment, shell: shell)
      .wait(atMost: limit)
  }
}

/// How many times longer things may take here than on a machine of their own: tests run beside each other.
private let crowd = 4

/// Polls a condition; returns whether it held within the time, as long as that is on a crowded machine.
func eventually(
  within limit: Duration,
  every pause: Duration = .milliseconds(5),
  _ condition: () async throws -> Bool
) async throws -> Bool {
  let deadline = ContinuousClock.now + limit * crowd
  while true {
    if try await condition() { return true }
    guard ContinuousClock.now < deadline else { return false }
    try await Task.sleep(for: pause)
  }
}

/// An unnamed file for what a process reads or writes; it is deleted when its descriptor is closed.
private final class AnonymousFile {
  let descriptor: CInt

  init(holding bytes: [UInt8] = []) throws {
    let path = FileManager.default.temporaryDirectory.appending(path: "trestle-\(UUID())").path
    descriptor = unsafe open(path, O_RDWR | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else {
      throw ProcessError(description: "\(path): \(unsafe String(cString: strerror(errno)))")
    }
    unsafe unlink(path)
    let count = unsafe bytes.withUnsafeBytes { unsafe write(descriptor, $0.baseAddress, $0.count) }
    guard count == bytes.count, lseek(descriptor, 0, SEEK_SET) == 0 else {
      throw ProcessError(description: "\(path): cannot be written")
    }
  }

  deinit { close(descriptor) }

  var text: String {
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 1 << 16)
    while true {
      let count = unsafe chunk.withUnsafeMutableBytes {
        unsafe pread(descriptor, $0.baseAddress, $0.count, off_t(bytes.count))
      }
      guard count > 0 else { return String(decoding: bytes, as: UTF8.self) }
      bytes += chunk.prefix(count)
    }
  }
}

/// Starts a process with the given descriptors as 0, 1 and 2, and with no others.
private func spawn(
  _ arguments: [String],
  environment: [String: String],
  descriptors: [CInt]
) throws -> pid_t {
  var attributes = posix_spawnattr_t()
  var actions = unsafe posix_spawn_file_actions_t()
  unsafe posix_spawnattr_init(&attributes)
  unsafe posix_spawn_file_actions_init(&actions)
  defer {
    unsafe posix_spawnattr_destroy(&attributes)
    unsafe posix_spawn_file_actions_destroy(&actions)
  }
  // Threads of the test runner block signals, and children would inherit that.
  var (none, all) = (sigset_t(), sigset_t())
  unsafe sigemptyset(&none)
  unsafe sigfillset(&all)
  unsafe posix_spawnattr_setsigmask(&attributes, &none)
  unsafe posix_spawnattr_setsigdefault(&attributes, &all)
  let flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF
  unsafe posix_spawnattr_setflags(&attributes, Int16(flags))
  for (number, descriptor) in descriptors.enumerated() {
    unsafe posix_spawn_file_actions_adddup2(&actions, descriptor, CInt(number))
  }
  // The test runner's own pipes must not stay open in a child. Closing a closed descriptor is no
  // error.
  for name in try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd") {
    guard let number = CInt(name), number >= descriptors.count else { continue }
    unsafe posix_spawn_file_actions_addclose(&actions, number)
  }
  let variables = ProcessInfo.processInfo.environment.merging(environment) { $1 }
  let words = unsafe arguments.map { unsafe strdup($0) } + [nil]
  let settings = unsafe variables.map { unsafe strdup("\($0)=\($1)") } + [nil]
  defer {
    unsafe words.forEach { unsafe free($0) }
    unsafe settings.forEach { unsafe free($0) }
  }
  var pid: pid_t = 0
  let error = unsafe posix_spawn(&pid, arguments[0], &actions, &attributes, words, settings)
  guard error == 0 else {
    throw ProcessError(
      description: "cannot start \(arguments[0]): \(unsafe String(cString: strerror(error)))"
    )
  }
  return pid
}
