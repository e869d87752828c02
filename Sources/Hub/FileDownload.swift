// Fetches one file over several connections, each with a range of it, and checks the content meanwhile.

internal import Glibc
internal import Platform

/// A file that is being fetched.
final class FileDownload: Sendable {
  private let url: String
  private let file: HubFile
  private let partial: PartialFile
  private let settings: HubSettings
  private let repository: RepositoryName
  private let cancellation: Cancellation
  private let onBytes: @Sendable (Int) -> Void
  private let state: Lock<State>

  /// More connections are not faster, and hubs slow down who has many.
  private static let connectionCount = 4
  /// The most blocks that are asked for at once: a server sends a range of this size without another question.
  private static let mostBlocksAtOnce = 64
  /// Progress of so many bytes makes earlier failures forgotten.
  private static let progressByteCount = 1 << 16

  private struct State {
    /// Blocks that nobody fetches yet, in order.
    var pending: ArraySlice<Int>
    /// The connection that fetches the whole file, because the server does not know ranges.
    var owner: Int?
    var failure: HubError?
    var runningCount = 0
  }

  /// - Parameters:
  ///   - file: The file.
  ///   - url: Its address.
  ///   - partial: Where its bytes go.
  ///   - settings: The hub, and who asks.
  ///   - repository: The repository that has the file.
  ///   - cancellation: Ends it.
  ///   - onBytes: Called with the number of bytes that have become complete.
  init(
    _ file: HubFile,
    at url: String,
    into partial: PartialFile,
    _ settings: HubSettings,
    _ repository: RepositoryName,
    cancellation: Cancellation,
    onBytes: @escaping @Sendable (Int) -> Void
  ) {
    self.file = file
    self.url = url
    self.partial = partial
    self.settings = settings
    self.repository = repository
    self.cancellation = cancellation
    self.onBytes = onBytes
    let missing = partial.missing.map { $0.lowerBound / PartialFile.blockByteCount }
    state = Lock(State(pending: missing[...]))
  }

  /// Fetches what is missing, and gives the file its name if the content is right.
  ///
  /// - Throws: `HubError.digest` if it is not; then all of it is gone. What came before another error stays.
  func run() throws(HubError) {
    let count = min(Self.connectionCount, state.withLock { $0.pending.count + 7 } / 8)
    state.withLock { $0.runningCount = count }
    var threads: [Platform.Thread] = []
    // Without the threads this one would wait for, it must not leave: they use what belongs to it.
    defer { for thread in threads { thread.join() } }
    for number in 0..<count {
      do throws(PlatformError) {
        threads.append(try Platform.Thread { [self] in fetch(number) })
      } catch {
        fail(HubError(.file, "\(error)", context: file.path))
        state.withLock { $0.runningCount -= count - number }
        break
      }
    }
    let digest: String
    do throws(HubError) { digest = try digestWhileFetching() } catch {
      // The connections have nothing to fetch for any more.
      fail(error)
      throw error
    }
    guard digest == file.object else {
      partial.discard()
      throw HubError(
        .digest,
        "its digest is \(digest), and the hub says \(file.object); what came is removed",
        context: file.path
      )
    }
    try partial.commit()
  }

  private var interrupted: HubError { HubError(.interrupted, "interrupted", context: file.path) }

  private func fail(_ error: HubError) {
    state.withLock { if $0.failure == nil { $0.failure = error } }
  }

  private func checkEnd() throws(HubError) {
    if cancellation.isCancelled { throw interrupted }
    if let failure = state.withLock({ $0.failure }) { throw failure }
  }

  private func digestWhileFetching() throws(HubError) -> String {
    var digest = ObjectDigest(like: file.object, byteCount: file.byteCount)
    let blockCount =
      (file.byteCount + PartialFile.blockByteCount - 1) / PartialFile.blockByteCount
    for block in 0..<blockCount {
      // What was there before is hashed at once, and may be most of a large file: that ends early, too.
      try checkEnd()
      while !partial.isPresent(block: block) {
        let isRunning = state.withLock { $0.runningCount > 0 }
        try checkEnd()
        guard isRunning || partial.isPresent(block: block) else {
          throw HubError(.network, "some bytes were not fetched", context: file.path)
        }
        usleep(5000)
      }
      let bytes = try partial.read(block: block)
      digest.update(bytes)
    }
    return digest.finish()
  }

  // MARK: One connection

  private func fetch(_ number: Int) {
    defer { state.withLock { $0.runningCount -= 1 } }
    do throws(HubError) {
      let connection = try HTTPConnection(settings)
      while let blocks = take(number) { try fetch(blocks, connection, number) }
    } catch {
      // Who is only in the way of another connection has not failed.
      if !isSuperseded(number) { fail(error) }
    }
  }

  /// Takes blocks that follow each other; nil if there is nothing left to do.
  private func take(_ number: Int) -> Range<Int>? {
    guard !cancellation.isCancelled else {
      fail(interrupted)
      return nil
    }
    return state.withLock { state in
      guard state.failure == nil, state.owner == nil, let first = state.pending.first else {
        return nil
      }
      let share = state.pending.count / (2 * Self.connectionCount)
      let most = min(Self.mostBlocksAtOnce, max(share, 1))
      var end = first + 1
      while end - first < most, state.pending.dropFirst(end - first).first == end { end += 1 }
      state.pending = state.pending.dropFirst(end - first)
      return first..<end
    }
  }

  private func isSuperseded(_ number: Int) -> Bool {
    state.withLock { $0.owner.map { $0 != number } ?? false }
  }

  private func hasEnded(_ number: Int) -> Bool {
    cancellation.isCancelled || isSuperseded(number) || state.withLock { $0.failure != nil }
  }

  /// Where a connection is in the bytes that it fetches.
  private struct Place {
    var next: Int
    var end: Int
    /// What has come since the last failure.
    var progress = 0
  }

  private func fetch(
    _ blocks: Range<Int>,
    _ connection: HTTPConnection,
    _ number: Int
  ) throws(HubError) {
    var place = Place(
      next: partial.bytes(of: blocks.lowerBound).lowerBound,
      end: partial.bytes(of: blocks.upperBound - 1).upperBound
    )
    var attempts = Attempts(cancellation)
    while place.next < place.end {
      place.progress = 0
      do throws(HubError) {
        try request(connection, number, &place)
        guard place.next == place.end else {
          throw HubError(
            .network,
            "the answer ended after \(place.next) of \(place.end) bytes",
            context: file.path
          )
        }
      } catch {
        if place.progress >= Self.progressByteCount { attempts.reset() }
        try attempts.wait(after: error)
      }
    }
  }

  private func request(
    _ connection: HTTPConnection,
    _ number: Int,
    _ place: inout Place
  ) throws(HubError) {
    var now = place
    defer { place = now }
    let range = now.next..<now.end
    // The whole of a file needs no range, and some servers answer small files without.
    let isWhole = range == 0..<file.byteCount
    _ = try connection.get(
      url,
      range: isWhole ? nil : range,
      isCancelled: { hasEnded(number) },
      onHead: { head throws(HubError) in
        switch head.status {
        case 206: try check(head, range)
        case 200:
          if !isWhole { try begin(anew: &now, number) }
          try check(length: head.length, file.byteCount)
        default: throw refusal(head, settings, repository, url)
        }
      },
      onBytes: { bytes throws(HubError) in try take(bytes, &now) }
    )
  }

  private func check(_ head: HTTPHead, _ range: Range<Int>) throws(HubError) {
    guard let answer = head.contentRange, answer.bytes == range else {
      throw HubError(
        .network,
        "bytes \(range) were asked for, and the answer has \(head.fields["content-range"] ?? "no range")",
        context: file.path
      )
    }
    guard answer.total == file.byteCount else {
      throw HubError(
        .network,
        "it has \(answer.total) bytes, and \(file.byteCount) in the hub's list of files",
        context: file.path
      )
    }
    try check(length: head.length, range.count)
  }

  private func check(length: Int?, _ wanted: Int) throws(HubError) {
    guard let length, length != wanted else { return }
    throw HubError(
      .network,
      "the answer has \(length) bytes instead of \(wanted)",
      context: file.path
    )
  }

  /// Fetches the whole file over one connection, because the server ignores ranges.
  private func begin(anew place: inout Place, _ number: Int) throws(HubError) {
    let isOwner = state.withLock { state in
      if state.owner == nil { state.owner = number }
      return state.owner == number
    }
    guard isOwner else {
      throw HubError(.interrupted, "another connection has it", context: file.path)
    }
    place.next = 0
    place.end = file.byteCount
  }

  private func take(_ bytes: [UInt8], _ place: inout Place) throws(HubError) {
    guard bytes.count <= place.end - place.next else {
      throw HubError(.network, "the answer has more bytes than it should", context: file.path)
    }
    try partial.write(bytes, at: place.next)
    let first = place.next / PartialFile.blockByteCount
    place.next += bytes.count
    place.progress += bytes.count
    var block = first
    while block * PartialFile.blockByteCount < place.next,
      partial.bytes(of: block).upperBound <= place.next
    {
      if !partial.isPresent(block: block) {
        try partial.mark(block: block)
        onBytes(partial.bytes(of: block).count)
      }
      block += 1
    }
  }
}
