// Numbers: ranges exactly, digit by digit.

extension SchemaCompiler {
  /// The node of numbers.
  mutating func number(
    _ flat: [Int],
    _ types: SchemaTypes,
    _ builder: inout GrammarBuilder
  ) throws(GrammarError) -> Int32 {
    let range = try numberRange(flat)
    if range.isEverything, types.contains(.integer) {
      return types.contains(.fraction) ? try builder.anyNumber() : try builder.anyInteger()
    }
    return try builder.machine(range.machine(types: types), .plain)
  }

  mutating func numbersAreEmpty(_ flat: [Int], _ types: SchemaTypes) throws(GrammarError) -> Bool {
    let range = try numberRange(flat)
    if range.isEverything { return false }
    return try range.machine(types: types).isEmpty
  }

  /// The range in which the numbers of all subschemas lie.
  func numberRange(_ flat: [Int]) throws(GrammarError) -> NumberRange {
    var range = NumberRange()
    for id in flat {
      for (keyword, exclusive, isLow) in [
        ("minimum", "exclusiveMinimum", true), ("maximum", "exclusiveMaximum", false),
      ] {
        var isOpen = false
        if let other = document[id, exclusive] {
          // Draft 4: a flag that belongs to the bound.
          if case .bool(let flag) = other {
            isOpen = flag
          } else {
            let bound = try decimal(id, exclusive)
            range.cut(NumberRange.Bound(value: bound, isOpen: true), isLow: isLow)
          }
        }
        if document[id, keyword] != nil {
          let bound = try decimal(id, keyword)
          range.cut(NumberRange.Bound(value: bound, isOpen: isOpen), isLow: isLow)
        }
      }
      if document[id, "multipleOf"] != nil {
        try range.addDivisor(decimal(id, "multipleOf"), at: document.path(id, "multipleOf"))
      }
      range.path = range.isEverything ? document.path(id) : range.path
    }
    return range
  }

  private func decimal(_ id: Int, _ keyword: String) throws(GrammarError) -> ExactDecimal {
    let path = document.path(id, keyword)
    guard case .number(let text)? = document[id, keyword] else {
      throw GrammarError(.malformed, "'\(keyword)' is a number", at: path)
    }
    guard let value = ExactDecimal(text) else {
      throw GrammarError(.limit, "the number \(text) has too many digits", at: path)
    }
    return value
  }
}

/// Between which bounds numbers lie, and what divides them.
struct NumberRange {
  struct Bound: Hashable {
    var value: ExactDecimal
    /// Whether the bound itself is outside.
    var isOpen: Bool
  }

  private(set) var low: Bound?
  private(set) var high: Bound?
  /// They are multiples of `divisor` × 10^-`decimals`; 0 for any.
  private(set) var divisor = 0
  private(set) var decimals = 0
  var path = ""

  /// The largest divisor: a machine has a state for each remainder.
  private static let divisorLimit = 100

  var isEverything: Bool { low == nil && high == nil && divisor == 0 }

  mutating func cut(_ bound: Bound, isLow: Bool) {
    if let known = isLow ? low : high {
      let isStricter =
        known.value == bound.value
        ? bound.isOpen
        : isLow
          ? ExactDecimal.precedes(known.value, bound.value)
          : ExactDecimal.precedes(bound.value, known.value)
      guard isStricter else { return }
    }
    if isLow { low = bound } else { high = bound }
  }

  mutating func addDivisor(_ value: ExactDecimal, at path: String) throws(GrammarError) {
    let digits = value.whole + value.fraction
    let text = String(decoding: digits.map { $0 + 0x30 }, as: UTF8.self)
    guard value.sign > 0, value.fraction.count <= 16, let number = Int(text) else {
      throw GrammarError(.unsupported, "a divisor of \(value.text)", at: path)
    }
    // Powers of ten only shift the point.
    var divisor = number
    var decimals = value.fraction.count
    while divisor % 10 == 0, decimals > 0 {
      divisor /= 10
      decimals -= 1
    }
    guard divisor <= Self.divisorLimit else {
      throw GrammarError(
        .limit,
        "a divisor of \(value.text), at most \(Self.divisorLimit) digits apart",
        at: path
      )
    }
    guard self.divisor == 0 || (self.divisor == divisor && self.decimals == decimals) else {
      throw GrammarError(.unsupported, "two divisors", at: path)
    }
    self.divisor = divisor
    self.decimals = decimals
  }

  /// The numbers as texts: no exponent, at most 16 digits before the point and behind it.
  ///
  /// - Throws: `GrammarError.limit` if that takes too many states.
  func machine(types: SchemaTypes) throws(GrammarError) -> CharacterMachine {
    var numbers: [NumberText: Int] = [NumberText(): 0]
    var work = [NumberText()]
    var states: [CharacterMachine.State] = []
    while states.count < work.count {
      let text = work[states.count]
      var state = CharacterMachine.State(accepts: accepts(text, types))
      for scalar in [0x2D, 0x2E] + Array(UInt32(0x30)...0x39) {
        guard let next = text.following(scalar, in: self, types) else { continue }
        let number = numbers[next] ?? work.count
        if number == work.count {
          numbers[next] = number
          work.append(next)
        }
        state.edges.append(CharacterMachine.Edge(range: scalar...scalar, target: number))
      }
      guard work.count <= 8 * GrammarLimits.machineStates else {
        throw GrammarError(.limit, "its range and divisor need too many states", at: path)
      }
      states.append(state)
    }
    return CharacterMachine(trimming: states)
  }

  /// Whether a text is a number of the range.
  private func accepts(_ text: NumberText, _ types: SchemaTypes) -> Bool {
    switch text.phase {
    case .start, .minus, .point: return false
    case .zero, .whole, .fraction: break
    }
    // An integer that is written as one; or with a fraction, which may be zero.
    guard text.phase == .fraction || types.contains(.integer) else { return false }
    if let low {
      let order = text.order(text.low, low.value)
      guard order > 0 || (order == 0 && !low.isOpen) else { return false }
    }
    if let high {
      let order = text.order(text.high, high.value)
      guard order < 0 || (order == 0 && !high.isOpen) else { return false }
    }
    guard divisor > 0 else { return true }
    var rest = text.remainder
    for _ in text.decimals..<max(decimals, text.decimals) { rest = rest * 10 % divisor }
    return rest == 0
  }
}

/// What of a number's text decides how it may go on.
private struct NumberText: Hashable {
  enum Phase { case start, minus, zero, whole, point, fraction }

  /// How the digits so far compare with those of a bound's magnitude: -1, 0 or 1.
  struct Comparison: Hashable {
    var order = 0
  }

  private(set) var phase = Phase.start
  private(set) var isNegative = false
  private(set) var isZero = true
  /// Digits of the present part.
  private(set) var digits = 0
  private(set) var low = Comparison()
  private(set) var high = Comparison()
  /// Of the digits so far, by the divisor.
  private(set) var remainder = 0

  /// Digits behind the point.
  var decimals: Int { phase == .fraction ? digits : 0 }

  /// The text with one more character; nil if it is none of a number.
  func following(
    _ scalar: UInt32,
    in range: NumberRange,
    _ types: SchemaTypes
  ) -> NumberText? {
    var next = self
    switch (scalar, phase) {
    case (0x2D, .start):
      next.phase = .minus
      next.isNegative = true
    case (0x2E, .zero), (0x2E, .whole):
      guard types.contains(.fraction) else { return nil }
      next.endWhole(range)
      next.phase = .point
      next.digits = 0
    case (0x30...0x39, .start), (0x30...0x39, .minus), (0x30...0x39, .whole):
      let digit = UInt8(scalar - 0x30)
      guard digits < 16 else { return nil }
      if phase != .whole, digit == 0 {
        next.phase = .zero
        next.digits = 0
      } else {
        next.phase = .whole
        next.add(digit, range, isWhole: true)
      }
    case (0x30...0x39, .point), (0x30...0x39, .fraction):
      let digit = UInt8(scalar - 0x30)
      // Digits behind those that a multiple can have are zeros, which say nothing.
      guard digits < (range.divisor > 0 ? min(16, range.decimals) : 16) else { return nil }
      next.phase = .fraction
      next.add(digit, range, isWhole: false)
    default: return nil
    }
    return next
  }

  private mutating func add(_ digit: UInt8, _ range: NumberRange, isWhole: Bool) {
    isZero = isZero && digit == 0
    if let bound = range.low { compare(\.low, digit, bound.value, isWhole) }
    if let bound = range.high { compare(\.high, digit, bound.value, isWhole) }
    if range.divisor > 0 { remainder = (remainder * 10 + Int(digit)) % range.divisor }
    digits += 1
  }

  private mutating func compare(
    _ comparison: WritableKeyPath<NumberText, Comparison>,
    _ digit: UInt8,
    _ bound: ExactDecimal,
    _ isWhole: Bool
  ) {
    guard self[keyPath: comparison].order == 0 else { return }
    let list = isWhole ? bound.whole : bound.fraction
    // Behind a bound's whole digits the longer number is larger whatever they are: `endWhole` says
    // so.
    guard digits < list.count || !isWhole else { return }
    let other = digits < list.count ? list[digits] : 0
    self[keyPath: comparison].order = digit == other ? 0 : digit < other ? -1 : 1
  }

  /// At the point the counts of digits decide first.
  private mutating func endWhole(_ range: NumberRange) {
    low.order = wholeOrder(low, range.low)
    high.order = wholeOrder(high, range.high)
  }

  private func wholeOrder(_ comparison: Comparison, _ bound: NumberRange.Bound?) -> Int {
    guard let bound else { return 0 }
    let count = bound.value.whole.count
    return digits == count ? comparison.order : digits < count ? -1 : 1
  }

  /// How the number compares with a bound: -1, 0 or 1.
  func order(_ comparison: Comparison, _ bound: ExactDecimal) -> Int {
    let sign = isZero ? 0 : isNegative ? -1 : 1
    guard sign == bound.sign else { return sign < bound.sign ? -1 : 1 }
    guard sign != 0 else { return 0 }
    var magnitude: Int
    if phase == .fraction {
      magnitude = comparison.order
      if magnitude == 0, digits < bound.fraction.count { magnitude = -1 }
    } else {
      magnitude = wholeOrder(comparison, NumberRange.Bound(value: bound, isOpen: false))
      if magnitude == 0, !bound.fraction.isEmpty { magnitude = -1 }
    }
    return sign * magnitude
  }
}
