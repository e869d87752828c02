// How commands wait for asynchronous work: what comes of it, and what an interrupt does.

import Launch
import Platform
import Testing
import Wire

@testable import trestle

/// Runs a body on a thread that may be blocked, unlike those of tasks.
private func onThread<Output: Sendable>(
  _ body: @escaping @Sendable () throws -> Output
) async throws -> Output {
  let thread = Lock<Platform.Thread?>(nil)
  defer { thread.withLock { $0?.join() } }
  return try await withCheckedThrowingContinuation { continuation in
    do {
      let started = try Platform.Thread { continuation.resume(with: Result { try body() }) }
      thread.withLock { $0 = started }
    } catch {
      continuation.resume(throwing: error)
    }
  }
}

/// A descriptor that is readable: somebody has interrupted.
private func interrupted() throws -> Mailbox<Void> {
  let mailbox = try Mailbox<Void>()
  mailbox.post(())
  return mailbox
}

@Suite struct `Waiting commands` {
  @Test func `what the work returns or throws comes of waiting for it`() async throws {
    let sum = try await onThread {
      let waiter = try Waiter()
      let one = try waiter.wait { 1 }
      return try waiter.wait {
        await Task.yield()
        return one + 2
      }
    }
    #expect(sum == 3)
    let error = await #expect(throws: CommandError.self) {
      try await onThread { try Waiter().wait { throw CommandError("no") } }
    }
    #expect(error?.description == "no")
  }

  @Test func `an interrupt cancels the work, once`() async throws {
    let signal = try interrupted()
    let later = try await onThread {
      let waiter = try Waiter(interruptedBy: signal.descriptor)
      #expect(throws: Interrupted.self) {
        try waiter.wait { try await Task.sleep(for: .seconds(3600)) }
      }
      return try waiter.wait { Task.isCancelled }
    }
    #expect(!later)
  }

  @Test func `an interrupt that comes too late for one work cancels the next`() async throws {
    let signal = try interrupted()
    try await onThread {
      let waiter = try Waiter(interruptedBy: signal.descriptor)
      // This work ends well although it is cancelled.
      let value = try waiter.wait {
        try? await Task.sleep(for: .seconds(3600))
        return 5
      }
      #expect(value == 5)
      #expect(throws: Interrupted.self) { try waiter.wait { 6 } }
      #expect(try waiter.wait { 7 } == 7)
    }
  }

  @Test func `an interrupt may be told to the work instead`() async throws {
    let signal = try interrupted()
    let (stream, continuation) = AsyncStream<Int>.makeStream()
    let told = try await onThread {
      try Waiter(interruptedBy: signal.descriptor).wait(
        onInterrupt: { continuation.yield(7) },
        for: { await stream.first { _ in true } }
      )
    }
    #expect(told == 7)
  }
}
