// Threads that are joined have run. That those which nobody joins leave nothing behind is for the thread
// sanitizer to see (scripts/sanitize).

import Testing

@testable import Platform

@Suite struct `Threads` {
  @Test func `a thread that is joined has run`() throws {
    let hasRun = Lock(false)
    try Platform.Thread { hasRun.withLock { $0 = true } }.join()
    #expect(hasRun.withLock { $0 })
  }
}
