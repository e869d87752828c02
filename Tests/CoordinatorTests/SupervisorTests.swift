// Processes that are started, watched and collected, where the system has no room for them at once.

import Glibc
import Logging
import Testing

@testable import Coordinator

@Suite struct `Supervision of processes` {
  private static let commands = [WorkerCommand(name: "sleeper", arguments: ["sleep", "60"])]

  /// Starts what the command says, as the system's search path finds it.
  private static func spawn(_ command: WorkerCommand) -> pid_t {
    let words = unsafe command.arguments.map { unsafe strdup($0) } + [nil]
    defer { unsafe words.forEach { unsafe free($0) } }
    var pid: pid_t = 0
    let error = unsafe posix_spawnp(&pid, command.arguments[0], nil, nil, words, environ)
    errno = error
    return error == 0 ? pid : -1
  }

  private func exits(of supervisor: Supervisor) throws -> [Supervisor.Exit] {
    let deadline = ContinuousClock.now + .seconds(10)
    while ContinuousClock.now < deadline {
      let exits = supervisor.update()
      if !exits.isEmpty { return exits }
      usleep(2000)
    }
    return []
  }

  @Test func `a worker that no descriptor watches is collected when it ends, and ended at the end`()
    throws
  {
    let supervisor = try Supervisor(
      Self.commands,
      logger: Logger(label: "test"),
      spawn: { command, _ in Self.spawn(command) },
      watch: { _ in
        errno = EMFILE
        return -1
      }
    )
    try supervisor.startAll()
    supervisor.restarts = true
    #expect(supervisor.livingCount == 1 && supervisor.descriptors.isEmpty)
    supervisor.kill("sleeper")
    let exits = try exits(of: supervisor)
    #expect(exits.count == 1 && exits.first?.willRestart == true)
    #expect(exits.first?.how.contains("ended by signal 9") == true)
    let deadline = ContinuousClock.now + .seconds(10)
    while supervisor.livingCount == 0, ContinuousClock.now < deadline { _ = supervisor.update() }
    #expect(supervisor.livingCount == 1)
    supervisor.stopAll(grace: .milliseconds(50))
    #expect(supervisor.livingCount == 0)
  }

  @Test(arguments: [EAGAIN, ENOMEM, EMFILE, ENFILE])
  func `a worker for whom the system has no room is started a little later`(code: CInt) throws {
    var refusals = 0
    let supervisor = try Supervisor(
      Self.commands,
      logger: Logger(label: "test"),
      spawn: { command, _ in
        refusals += 1
        if refusals > 3 { return Self.spawn(command) }
        errno = code
        return -1
      },
      watch: { _ in -1 }
    )
    try supervisor.startAll()
    #expect(supervisor.livingCount == 0)
    let deadline = ContinuousClock.now + .seconds(10)
    while supervisor.livingCount == 0, ContinuousClock.now < deadline {
      #expect(supervisor.update().isEmpty)
      usleep(2000)
    }
    #expect(supervisor.livingCount == 1 && refusals == 4)
    supervisor.stopAll(grace: .zero)
  }

  @Test func `a worker that ends for want of resources is never given up, another is`() throws {
    for (status, patience) in [(75, 6), (1, 5)] {
      let commands = [
        WorkerCommand(name: "failing", arguments: ["sh", "-c", "exit \(status)"])
      ]
      let supervisor = try Supervisor(
        commands,
        logger: Logger(label: "test"),
        spawn: { command, _ in Self.spawn(command) },
        watch: { _ in -1 }
      )
      supervisor.restarts = true
      try supervisor.startAll()
      for count in 1..<patience {
        let willRestart = try exits(of: supervisor).first?.willRestart
        #expect(willRestart == true, "status \(status), exit \(count)")
      }
      #expect(try exits(of: supervisor).first?.willRestart == (status == 75))
      supervisor.stopAll(grace: .zero)
    }
  }

  @Test func `a worker that cannot be started at all is refused with the reason`() throws {
    let supervisor = try Supervisor(
      Self.commands,
      logger: Logger(label: "test"),
      spawn: { _, _ in
        errno = EACCES
        return -1
      },
      watch: { _ in -1 }
    )
    let error = #expect(throws: CoordinatorError.self) { try supervisor.startAll() }
    #expect(error?.code == .worker && error?.message.contains("sleeper") == true)
  }
}
