// Numbers in assembly: `64`, `0x308`, `-4`, names, and sums and products of these in parentheses.

enum AssemblyExpression {
  /// Takes an expression from the tokens, as far as it goes.
  ///
  /// - Throws: `NPUError.syntax` for a name that nobody has defined, or what is no number.
  static func value(
    _ tokens: inout ArraySlice<String>,
    _ symbols: Symbols
  ) throws(NPUError) -> Int {
    guard tokens.count <= mostTokens else {
      throw NPUError(.syntax, "a line of \(tokens.count) parts is too long")
    }
    var sum = try product(&tokens, symbols)
    while let sign = tokens.first, sign == "+" || sign == "-" {
      tokens.removeFirst()
      let next = try product(&tokens, symbols)
      sum = try checked(sum + (sign == "+" ? next : -next))
    }
    return sum
  }

  private static func product(
    _ tokens: inout ArraySlice<String>,
    _ symbols: Symbols
  ) throws(NPUError) -> Int {
    var product = try factor(&tokens, symbols)
    while let sign = tokens.first, sign == "*" || sign == "/" {
      tokens.removeFirst()
      let next = try factor(&tokens, symbols)
      if sign == "*" {
        // Neither factor has more than 40 bits: the product may have more than 64.
        product = try checked(Int(clamping: Int128(product) * Int128(next)))
      } else {
        guard next != 0, product.isMultiple(of: next) else {
          throw NPUError(.syntax, "\(product) / \(next) is no whole number")
        }
        product /= next
      }
    }
    return product
  }

  private static func factor(
    _ tokens: inout ArraySlice<String>,
    _ symbols: Symbols
  ) throws(NPUError) -> Int {
    guard let token = tokens.popFirst() else { throw NPUError(.syntax, "a number is missing") }
    if token == "-" { return -(try factor(&tokens, symbols)) }
    if token == "(" {
      let value = try value(&tokens, symbols)
      guard tokens.popFirst() == ")" else { throw NPUError(.syntax, "a ) is missing") }
      return value
    }
    let isHexadecimal = token.hasPrefix("0x")
    let digits = isHexadecimal ? token.dropFirst(2) : token[...]
    // Numbers of more than 32 bits are of no use, and sums of these cannot overflow by themselves.
    if let number = Int(digits, radix: isHexadecimal ? 16 : 10), digits.first != "+" {
      guard number < 1 << 32 else { throw NPUError(.syntax, "\(token) has more than 32 bits") }
      return number
    }
    guard let value = symbols[token] else {
      throw NPUError(.syntax, "\(token) is no number, and no name of one")
    }
    return try checked(value)
  }

  /// Numbers stay so small that no sum and no negation of them overflows.
  private static func checked(_ value: Int) throws(NPUError) -> Int {
    guard (-largest...largest).contains(value) else {
      throw NPUError(.syntax, "a number that is too large")
    }
    return value
  }

  private static let largest = 1 << 40
  /// What is in parentheses in parentheses is read by a function in itself.
  private static let mostTokens = 500
}
