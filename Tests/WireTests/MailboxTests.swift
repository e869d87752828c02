// Shared state of threads: a value behind a lock, and a queue that an event loop can wait for.

import Foundation
import Glibc
import Platform
import Testing
import Wire

@Suite struct `Shared between threads` {
  /// Runs a body on several threads at once and waits for them.
  private func onThreads(_ count: Int, _ body: @escaping @Sendable (Int) -> Void) {
    let threads = (0..<count).map { index in Foundation.Thread { body(index) } }
    for thread in threads { thread.start() }
    while threads.contains(where: { !$0.isFinished }) { usleep(1000) }
  }

  @Test func `a lock lets one thread at a time change its value`() {
    let counter = Lock(0)
    onThreads(4) { _ in
      for _ in 0..<20_000 { counter.withLock { $0 += 1 } }
    }
    #expect(counter.withLock { $0 } == 80_000)
  }

  @Test func `a mailbox wakes its reader and keeps each sender's order`() throws {
    let mailbox = try Mailbox<[Int]>()
    #expect(try poll(sockets: [], descriptors: [mailbox.descriptor], timeout: .zero).isEmpty)
    #expect(mailbox.takeAll().isEmpty)
    onThreads(3) { sender in
      for number in 0..<1000 { mailbox.post([sender, number]) }
    }
    let ready = try poll(sockets: [], descriptors: [mailbox.descriptor], timeout: .zero)
    #expect(ready.contains(descriptor: mailbox.descriptor))
    let all = mailbox.takeAll()
    for sender in 0..<3 {
      #expect(all.filter { $0[0] == sender }.map { $0[1] } == Array(0..<1000))
    }
    // After taking, neither items nor wake-ups are left.
    #expect(try poll(sockets: [], descriptors: [mailbox.descriptor], timeout: .zero).isEmpty)
    #expect(mailbox.takeAll().isEmpty)
  }
}
