// Characters as bytes: UTF-8, and the escapes of JSON strings.

/// How characters are written.
enum CharacterEncoding: Hashable {
  /// As UTF-8.
  case plain
  /// As in a JSON string: UTF-8, with an escape only where JSON wants one.
  case json
}

struct CharacterKey: Hashable {
  var set: CodePointSet
  var encoding: CharacterEncoding
}

extension GrammarBuilder {
  /// One character of a set.
  mutating func character(
    _ set: CodePointSet,
    _ encoding: CharacterEncoding
  ) throws(GrammarError) -> Int32 {
    let key = CharacterKey(set: set, encoding: encoding)
    if let node = characterNodes[key] { return node }
    var branches: [Int32] = []
    switch encoding {
    case .plain: branches = try utf8(set)
    case .json:
      branches = try utf8(set.subtracting(Self.escaped))
      for range in set.intersection(Self.escaped).ranges {
        for value in range { branches.append(try escape(UInt8(value))) }
      }
    }
    let node = try alternatives(branches)
    characterNodes[key] = node
    return node
  }

  /// What JSON strings must escape.
  static let escaped = CodePointSet([0...0x1F, 0x22...0x22, 0x5C...0x5C])

  private mutating func escape(_ byte: UInt8) throws(GrammarError) -> Int32 {
    switch byte {
    case 0x22: return try literal("\\\"")
    case 0x5C: return try literal("\\\\")
    case 0x08: return try literal("\\b")
    case 0x09: return try literal("\\t")
    case 0x0A: return try literal("\\n")
    case 0x0C: return try literal("\\f")
    case 0x0D: return try literal("\\r")
    default:
      let digit = byte & 15
      let last =
        digit < 10 ? ByteSet([0x30 + digit]) : ByteSet([0x41 + digit - 10, 0x61 + digit - 10])
      return try sequence([literal(byte < 16 ? "\\u000" : "\\u001"), add(.bytes(last))])
    }
  }

  /// A character of a JSON string in any of its forms, escapes included.
  mutating func anyStringCharacter() throws(GrammarError) -> Int32 {
    let plain = try character(CodePointSet.all.subtracting(Self.escaped), .plain)
    let digits: [ClosedRange<UInt8>] = [0x30...0x39, 0x41...0x46, 0x61...0x66]
    let digit = try add(.bytes(ByteSet(digits.joined())))
    // U+D800 to U+DFFF come as pairs only.
    let ordinary = try add(
      .bytes(ByteSet([UInt8]("0123456789ABCEFabcef".utf8)))
    )
    let d = try add(.bytes(ByteSet([UInt8]("Dd".utf8))))
    let low = try add(.bytes(ByteSet([UInt8]("01234567".utf8))))
    let high = try add(.bytes(ByteSet([UInt8]("89ABab".utf8))))
    let tail = try add(.bytes(ByteSet([UInt8]("CDEFcdef".utf8))))
    let pair = try sequence([d, high, digit, digit, literal("\\u"), d, tail, digit, digit])
    let code = try alternatives([
      sequence([ordinary, digit, digit, digit]), sequence([d, low, digit, digit]), pair,
    ])
    let short = try add(.bytes(ByteSet([UInt8]("\"\\/bfnrt".utf8))))
    let escapes = try alternatives([short, sequence([literal("u"), code])])
    return try alternatives([plain, sequence([literal("\\"), escapes])])
  }

  /// Ways to write one character of a set as UTF-8.
  private mutating func utf8(_ set: CodePointSet) throws(GrammarError) -> [Int32] {
    var branches: [Int32] = []
    var ascii = ByteSet()
    for range in set.ranges {
      // Each piece has characters of one length.
      for (first, last) in [(0, 0x7F), (0x80, 0x7FF), (0x800, 0xFFFF), (0x10000, 0x10FFFF)]
        as [(UInt32, UInt32)]
      {
        let low = max(range.lowerBound, first)
        let high = min(range.upperBound, last)
        guard low <= high else { continue }
        if last == 0x7F {
          for byte in low...high { ascii.insert(UInt8(byte)) }
        } else {
          branches.append(contentsOf: try multibyte(Self.encoded(low), Self.encoded(high)))
        }
      }
    }
    if !ascii.isEmpty { branches.append(try add(.bytes(ascii))) }
    return branches
  }

  private static func encoded(_ value: UInt32) -> [UInt8] {
    // Ranges hold no surrogates, so there is always a scalar.
    Unicode.Scalar(value).map { Array(String($0).utf8) } ?? []
  }

  /// The byte sequences from one to another of the same length, as few products of byte ranges.
  private mutating func multibyte(
    _ low: [UInt8],
    _ high: [UInt8]
  ) throws(GrammarError) -> [Int32] {
    guard low.count > 1 else { return [try add(.bytes(ByteSet(low[0]...high[0])))] }
    let lowRest = Array(low.dropFirst())
    let highRest = Array(high.dropFirst())
    if low[0] == high[0] {
      let rest = try alternatives(multibyte(lowRest, highRest))
      return [try sequence([add(.bytes(ByteSet([low[0]]))), rest])]
    }
    let least = [UInt8](repeating: 0x80, count: lowRest.count)
    let most = [UInt8](repeating: 0xBF, count: lowRest.count)
    var result: [Int32] = []
    var first = low[0]
    var last = high[0]
    if lowRest != least {
      let rest = try alternatives(multibyte(lowRest, most))
      result.append(try sequence([add(.bytes(ByteSet([first]))), rest]))
      first += 1
    }
    var end: [Int32] = []
    if highRest != most {
      let rest = try alternatives(multibyte(least, highRest))
      end.append(try sequence([add(.bytes(ByteSet([last]))), rest]))
      last -= 1
    }
    if first <= last {
      let continuation = try add(.bytes(ByteSet(0x80...0xBF)))
      let lead = try add(.bytes(ByteSet(first...last)))
      // One after another, not as a list: "one more, then the rest" is then the same node
      // everywhere.
      var rest = continuation
      for _ in 1..<lowRest.count { rest = try sequence([continuation, rest]) }
      if lowRest.isEmpty == false { result.append(try sequence([lead, rest])) }
    }
    return result + end
  }
}
