// Numbers of a schema, exactly.

/// A decimal number without rounding.
struct ExactDecimal: Hashable, Sendable {
  var isNegative: Bool
  /// Digits before the point, without zeros at the front; none for zero.
  var whole: [UInt8]
  /// Digits behind the point, without zeros at the end.
  var fraction: [UInt8]

  /// The most digits that an exponent may move the point by.
  private static let exponentLimit = 400

  /// - Parameter text: A JSON number; nil is returned if it is too long.
  init?(_ text: String) {
    var rest = Substring(text)
    isNegative = rest.first == "-"
    if isNegative { rest = rest.dropFirst() }
    let parts = rest.split(separator: "e", omittingEmptySubsequences: false).flatMap {
      $0.split(separator: "E", omittingEmptySubsequences: false)
    }
    guard let exponent = parts.count > 1 ? Int(parts[1]) : 0, let first = parts.first else {
      return nil
    }
    let mantissa = first.split(separator: ".", omittingEmptySubsequences: false)
    var before = mantissa[0].utf8.map { $0 - 0x30 }
    var behind = mantissa.count > 1 ? mantissa[1].utf8.map { $0 - 0x30 } : []
    guard abs(exponent) <= Self.exponentLimit, before.count + behind.count <= Self.exponentLimit
    else {
      return nil
    }
    if exponent > 0 {
      behind += [UInt8](repeating: 0, count: max(0, exponent - behind.count))
      before += behind.prefix(exponent)
      behind.removeFirst(exponent)
    } else if exponent < 0 {
      before = [UInt8](repeating: 0, count: max(0, -exponent - before.count)) + before
      behind = before.suffix(-exponent) + behind
      before.removeLast(-exponent)
    }
    whole = Array(before.drop { $0 == 0 })
    while behind.last == 0 { behind.removeLast() }
    fraction = behind
    if isZero { isNegative = false }
  }

  var isZero: Bool { whole.isEmpty && fraction.isEmpty }
  var isInteger: Bool { fraction.isEmpty }
  /// -1, 0 or 1.
  var sign: Int { isZero ? 0 : isNegative ? -1 : 1 }

  /// Without exponent.
  var text: String {
    let digits = { (list: [UInt8]) in String(decoding: list.map { $0 + 0x30 }, as: UTF8.self) }
    let start = (isNegative ? "-" : "") + (whole.isEmpty ? "0" : digits(whole))
    return fraction.isEmpty ? start : start + "." + digits(fraction)
  }

  /// As an integer; nil if it is none, or too large.
  var wholeValue: Int? { isInteger ? Int(text) : nil }

  static func precedes(_ a: ExactDecimal, _ b: ExactDecimal) -> Bool {
    if a.sign != b.sign { return a.sign < b.sign }
    return a.isNegative ? b.magnitudePrecedes(a) : a.magnitudePrecedes(b)
  }

  private func magnitudePrecedes(_ other: ExactDecimal) -> Bool {
    if whole.count != other.whole.count { return whole.count < other.whole.count }
    return (whole + fraction).lexicographicallyPrecedes(other.whole + other.fraction)
  }
}
