// A queue from one event loop to another. The receiver polls the mailbox's descriptor beside its
// sockets and takes what was posted.

internal import CLinux
internal import Glibc

/// A queue whose descriptor is readable while items wait.
///
/// Its users bound the number of waiting items: each posts a fixed number of items per event.
package final class Mailbox<Item: Sendable>: Sendable {
  package let descriptor: CInt
  private let items = Lock<[Item]>([])

  /// - Throws: `PlatformError` if the process has no descriptor left.
  package init() throws(PlatformError) {
    descriptor = clinux_eventfd()
    guard descriptor >= 0 else { throw PlatformError(errorNumber: errno, "eventfd failed") }
  }

  deinit { close(descriptor) }

  package func post(_ item: Item) {
    items.withLock { $0.append(item) }
    var one: UInt64 = 1
    // The write fails only when the counter is full, and then the descriptor is readable already.
    _ = unsafe write(descriptor, &one, 8)
  }

  /// Returns the waiting items, oldest first, and empties the queue.
  package func takeAll() -> [Item] {
    var count: UInt64 = 0
    _ = unsafe read(descriptor, &count, 8)
    return items.withLock { items in
      defer { items = [] }
      return items
    }
  }
}
