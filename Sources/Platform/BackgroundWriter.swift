// A thread that writes to a descriptor what no other thread may block on: the log, a timeline. A
// reader that is stopped, slow or gone costs dropped pieces, never the time of the thread that
// posts them.

internal import Glibc

/// Writes pieces of bytes, in order, on a thread of its own.
///
/// Its queue is bounded: what does not fit is dropped and counted. The thread starts with the first
/// piece and handles no signals. Where the system has no thread left, `post` itself writes a piece,
/// as far as the descriptor accepts it without blocking.
// @unchecked Sendable: `wakeUp` is a semaphore, which several threads may use; all other mutable
// state is behind the lock.
@safe package final class BackgroundWriter: @unchecked Sendable {
  /// The limits of the queue.
  package struct Limits: Sendable, Hashable {
    package var pieces: Int
    package var bytes: Int

    package init(pieces: Int, bytes: Int) {
      self.pieces = pieces
      self.bytes = bytes
    }
  }

  private enum Start { case never, running, failed }

  private struct State {
    var start = Start.never
    var pieces: [[UInt8]] = []
    var byteCount = 0
    var isWriting = false
    var dropped = 0
    var isClosing = false
    var hasEnded = false
  }

  private let descriptor: CInt
  private let limits: Limits
  private let closesDescriptor: Bool
  private let notice: @Sendable (Int) -> [UInt8]
  private let onFailure: @Sendable (CInt) -> Bool
  private let wakeUp: UnsafeMutablePointer<sem_t>
  private let state = Lock(State())

  /// How long the thread sleeps at most, and so how late a notice may be when nothing else is
  /// written.
  private static let longestRest = Duration.seconds(1)

  /// - Parameters:
  ///   - descriptor: Where to write.
  ///   - limits: How much may wait.
  ///   - closesDescriptor: Whether the descriptor is closed once `close` was called and all is written.
  ///   - notice: Returns what to write about a number of dropped pieces; an empty array writes
  ///     nothing. Called on the thread, at least once a second.
  ///   - onFailure: Receives the error number of a failed write and returns whether to continue
  ///     with the next piece. Called on the thread.
  package init(
    descriptor: CInt,
    limits: Limits,
    closesDescriptor: Bool = false,
    notice: @escaping @Sendable (Int) -> [UInt8] = { _ in [] },
    onFailure: @escaping @Sendable (CInt) -> Bool = { _ in true }
  ) {
    self.descriptor = descriptor
    self.limits = limits
    self.closesDescriptor = closesDescriptor
    self.notice = notice
    self.onFailure = onFailure
    unsafe wakeUp = .allocate(capacity: 1)
    unsafe wakeUp.initialize(to: sem_t())
    unsafe sem_init(wakeUp, 0, 0)
  }

  deinit {
    unsafe sem_destroy(wakeUp)
    unsafe wakeUp.deallocate()
  }

  /// How many pieces were dropped since the last notice.
  package var droppedCount: Int { state.withLock { $0.dropped } }

  /// Queues a piece to be written; returns false if it was dropped instead.
  @discardableResult
  package func post(_ piece: [UInt8]) -> Bool {
    let start = state.withLock { state in
      if state.start == .never { state.start = self.startThread() ? .running : .failed }
      return state.start
    }
    guard start == .running else { return writeAtOnce(piece) }
    let isAccepted = state.withLock { state in
      guard !state.isClosing, state.pieces.count < limits.pieces,
        state.byteCount + piece.count <= limits.bytes
      else {
        state.dropped += 1
        return false
      }
      state.pieces.append(piece)
      state.byteCount += piece.count
      return true
    }
    if isAccepted { unsafe sem_post(wakeUp) }
    return isAccepted
  }

  /// Waits until everything posted is written, with a timeout; returns whether it is.
  @discardableResult
  package func drain(within limit: Duration) -> Bool {
    let deadline = ContinuousClock.now + limit
    while true {
      let isIdle = state.withLock { state in
        state.start != .running || state.hasEnded || (state.pieces.isEmpty && !state.isWriting)
      }
      if isIdle { return true }
      guard ContinuousClock.now < deadline else { return false }
      usleep(200)
    }
  }

  /// Refuses further pieces and waits for the thread's end, with a timeout.
  ///
  /// - Returns: Whether everything was written or refused before the timeout.
  @discardableResult
  package func close(within limit: Duration) -> Bool {
    let start = state.withLock { state in
      state.isClosing = true
      return state.start
    }
    guard start == .running else {
      closeDescriptor()
      return true
    }
    unsafe sem_post(wakeUp)
    let deadline = ContinuousClock.now + limit
    while !state.withLock({ $0.hasEnded }) {
      guard ContinuousClock.now < deadline else { return false }
      usleep(200)
    }
    return true
  }

  private func closeDescriptor() {
    if closesDescriptor { Glibc.close(descriptor) }
  }
}

// MARK: The thread

extension BackgroundWriter {
  /// Starts the thread with every signal blocked, because another thread handles those that end the
  /// program.
  private func startThread() -> Bool {
    var (all, before) = (sigset_t(), sigset_t())
    unsafe sigfillset(&all)
    unsafe pthread_sigmask(SIG_SETMASK, &all, &before)
    defer { unsafe pthread_sigmask(SIG_SETMASK, &before, nil) }
    return (try? Thread { self.serve() }) != nil
  }

  private enum Outcome {
    case written
    case lost
    /// The writer stops: nothing more is to be written.
    case ended
  }

  private func serve() {
    var outcome = Outcome.written
    while outcome != .ended {
      rest()
      let (pieces, dropped, isClosing) = state.withLock { state in
        defer {
          state.pieces = []
          state.byteCount = 0
          state.isWriting = true
        }
        return (state.pieces, state.dropped, state.isClosing)
      }
      for piece in pieces where outcome != .ended {
        outcome = write(piece)
        if outcome == .lost { state.withLock { $0.dropped += 1 } }
      }
      // While nothing can be written, a notice could not be written either.
      if outcome == .written { outcome = writeNotice(dropped) }
      state.withLock { $0.isWriting = false }
      if isClosing { break }
      if outcome == .lost, pieces.isEmpty { outcome = .written }
    }
    // From now on pieces are refused.
    state.withLock { state in
      state.isClosing = true
      state.pieces = []
      state.hasEnded = true
    }
    closeDescriptor()
  }

  /// Sleeps until something is posted, for a second at most.
  private func rest() {
    var until = timespec()
    unsafe clock_gettime(CLOCK_REALTIME, &until)
    until.tv_sec += time_t(Self.longestRest.components.seconds)
    if unsafe sem_timedwait(wakeUp, &until) == 0 {
      // The loop takes all waiting pieces at once, so one wake-up is enough for them.
      while unsafe sem_trywait(wakeUp) == 0 {}
    }
  }

  /// Writes a notice about dropped pieces after those just written; if that fails, the next notice
  /// counts them.
  private func writeNotice(_ dropped: Int) -> Outcome {
    let text = notice(dropped)
    guard !text.isEmpty else { return .written }
    let outcome = write(text)
    if outcome == .written { state.withLock { $0.dropped -= dropped } }
    return outcome
  }

  /// Writes a piece, however long that takes.
  private func write(_ piece: [UInt8]) -> Outcome {
    var rest = piece[...]
    while !rest.isEmpty {
      let count = unsafe rest.withUnsafeBytes {
        unsafe Glibc.write(descriptor, $0.baseAddress, $0.count)
      }
      let error = errno
      if count >= 0 {
        rest = rest.dropFirst(count)
      } else if error == EAGAIN {
        let isReady = isWritable(within: 1000)
        // Once the writer is closing, a reader that is stopped is no longer waited for.
        if !isReady, state.withLock({ $0.isClosing }) { return .ended }
      } else if error != EINTR {
        return onFailure(error) ? .lost : .ended
      }
    }
    return .written
  }

  private func writeAtOnce(_ piece: [UInt8]) -> Bool {
    guard isWritable(within: 0) else { return false }
    let count = unsafe piece.withUnsafeBytes {
      unsafe Glibc.write(descriptor, $0.baseAddress, $0.count)
    }
    return count == piece.count
  }

  private func isWritable(within milliseconds: CInt) -> Bool {
    var item = pollfd(fd: descriptor, events: CShort(POLLOUT), revents: 0)
    return unsafe Glibc.poll(&item, 1, milliseconds) > 0
  }
}
