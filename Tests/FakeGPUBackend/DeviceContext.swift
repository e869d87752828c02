// What all objects of one imaginary device have in common: its memory, and the thread that it is bound to.

internal import Compute
internal import Glibc
internal import Synchronization

/// A device's context: made anywhere, bound to the first thread that uses it.
final class DeviceContext: Sendable {
  private let memoryByteCount: Int
  private let used = Mutex(0)
  private let owner = Mutex<UInt?>(nil)
  private let isLost = Mutex(false)

  init(memoryByteCount: Int) { self.memoryByteCount = memoryByteCount }

  var usedByteCount: Int { used.withLock { $0 } }

  /// Whether the calling thread is the context's own.
  var isCurrent: Bool { owner.withLock { $0 == UInt(pthread_self()) } }

  /// Makes the calling thread the context's own if it has none yet.
  ///
  /// - Throws: `ComputeError` with code `device` if another is, or the device is gone.
  func bind() throws(ComputeError) {
    guard !isLost.withLock({ $0 }) else { throw ComputeError(.device, "the device is gone") }
    let thread = UInt(pthread_self())
    let current = owner.withLock { owner in
      owner = owner ?? thread
      return owner
    }
    guard current == thread else {
      throw ComputeError(.device, "the context is another thread's; use it on that alone")
    }
  }

  /// Takes memory.
  ///
  /// - Throws: `ComputeError` with code `memory` if there is not enough left.
  func allocate(_ byteCount: Int, for purpose: String) throws(ComputeError) {
    let (isEnough, left) = used.withLock { used in
      let left = memoryByteCount - used
      guard byteCount <= left else { return (false, left) }
      used += byteCount
      return (true, left)
    }
    guard isEnough else {
      throw ComputeError(.memory, "no \(byteCount) bytes for \(purpose), \(left) are left")
    }
  }

  /// Takes the device away: nothing runs on it any more.
  func lose() { isLost.withLock { $0 = true } }

  func free(_ byteCount: Int) { used.withLock { $0 -= byteCount } }
}
