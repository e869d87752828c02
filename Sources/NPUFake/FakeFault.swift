// What goes wrong, and when, as a value and as a short text: `abort@3`, `heap-enomem`, `exec-eagain@2x5`, `flip@4+`.

/// A fault that the kernel makes.
package struct FakeFault: Sendable, Hashable, CustomStringConvertible {
  package enum Kind: String, Sendable, Hashable, CaseIterable {
    // Of commands, which are counted from 1 over the life of the kernel; those of a chain count each.

    /// Runs longer than the first deadline, and has ended when it is waited for again.
    case slow
    /// Never ends by itself: the driver ends it as TIMEOUT after the first deadline, its payload all ones.
    case hang
    /// Is lost: it never ends, and neither do those behind it.
    case drop
    /// The fence is signalled, and the state stays NEW.
    case new
    /// The fence is signalled with state ABORT.
    case abort
    /// Ends as ERROR, its payload all ones.
    case error
    /// Ends as TIMEOUT, its payload all ones.
    case timeout
    /// Ends as NORESPONSE, its payload all ones.
    case noResponse = "no-response"
    /// One word of what it writes is inverted.
    case flip
    /// The device is removed when it is submitted: ENODEV from that call and all later ones.
    case removed

    // Of calls, of which those that it concerns are counted from 1.

    case openAbsent = "open-enoent"
    case versionInvalid = "version-einval"
    case infoAbsent = "info-eopnotsupp"
    /// The kernel knows no more than the first half of the answer.
    case infoShort = "info-short"
    case heapMemory = "heap-enomem"
    case deviceAgain = "device-eagain"
    case sharedMemory = "shared-enomem"
    case contextBusy = "context-ebusy"
    case contextInvalid = "context-einval"
    case execAgain = "exec-eagain"
    case execInterrupted = "exec-eintr"

    // Of the whole kernel, whatever the count.

    /// Firmware and driver do not fit together: every command ends as ABORT.
    case wrongProtocol = "protocol"
    /// The node is another driver's.
    case driverName = "driver-name"
    /// After the first command that fails, contexts can no longer be made, until the machine is started anew.
    case wedge
  }

  package var kind: Kind
  /// The first command, or call, that it hits.
  package var first: Int
  /// How many it hits, nil for all from there on.
  package var times: Int?

  package init(_ kind: Kind, at first: Int = 1, times: Int? = 1) {
    self.kind = kind
    self.first = first
    self.times = times
  }

  /// Reads `KIND`, `KIND@FIRST`, `KIND@FIRST+` (all from there on) or `KIND@FIRSTxTIMES`; nil for other texts.
  package init?(parsing text: String) {
    let parts = text.split(separator: "@", omittingEmptySubsequences: false)
    guard let name = parts.first, let kind = Kind(rawValue: String(name)), parts.count <= 2 else {
      return nil
    }
    self.init(kind)
    guard parts.count == 2 else { return }
    let count = parts[1]
    if count.hasSuffix("+") {
      guard let first = Self.number(count.dropLast()) else { return nil }
      (self.first, times) = (first, nil)
      return
    }
    let numbers = count.split(separator: "x", omittingEmptySubsequences: false)
    guard let first = Self.number(numbers[0]) else { return nil }
    self.first = first
    guard numbers.count > 1 else { return }
    guard numbers.count == 2, let times = Self.number(numbers[1]), times > 0 else { return nil }
    self.times = times
  }

  /// Reads several, with commas between; nil if one is none.
  package static func list(parsing text: String) -> [FakeFault]? {
    let texts = text.split(separator: ",")
    let faults = texts.compactMap { FakeFault(parsing: String($0)) }
    return faults.count == texts.count ? faults : nil
  }

  private static func number(_ text: Substring) -> Int? {
    guard text.allSatisfy({ $0.isASCII && $0.isNumber }) else { return nil }
    return Int(text)
  }

  /// The text that it can be read from.
  package var description: String {
    switch times {
    case nil: "\(kind.rawValue)@\(first)+"
    case 1: "\(kind.rawValue)@\(first)"
    case let times?: "\(kind.rawValue)@\(first)x\(times)"
    }
  }

  func hits(_ count: Int) -> Bool {
    count >= first && times.map { count - first < $0 } ?? true
  }
}

/// The faults of a kernel, and how many calls have been made that they count.
struct FaultPlan {
  private let faults: [FakeFault]
  private var calls: [FakeFault.Kind: Int] = [:]

  init(_ faults: [FakeFault]) { self.faults = faults }

  /// Whether there is such a fault at all.
  func has(_ kind: FakeFault.Kind) -> Bool { faults.contains { $0.kind == kind } }

  /// Whether a fault hits a command.
  func hits(_ kind: FakeFault.Kind, command: Int) -> Bool {
    faults.contains { $0.kind == kind && $0.hits(command) }
  }

  /// Whether the device is removed before so many commands have been submitted: it does not come back.
  func isRemoved(command: Int) -> Bool {
    faults.contains { $0.kind == .removed && command >= $0.first }
  }

  /// Counts a call for each of some faults, and throws the error of the first that hits it.
  mutating func count(_ faults: (kind: FakeFault.Kind, error: CInt)...) throws(FakeErrno) {
    let hit = faults.filter { hitsNext($0.kind) }
    if let first = hit.first { throw FakeErrno(first.error) }
  }

  /// Counts a call, and returns whether a fault hits it.
  mutating func hitsNext(_ kind: FakeFault.Kind) -> Bool {
    calls[kind, default: 0] += 1
    return hits(kind, command: calls[kind, default: 0])
  }
}
