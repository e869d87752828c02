// The program of a core: a source of assembly, one bundle a line, or its bytes.
//
//     loop:                                  // a label: the address of the next bundle
//       vlda wl2, [p1], #64; vmac cm0, cm0, x0~, x2~, r0
//       .set step, 2 * n                     // a number with a name
//
// Macros are put in before (AssemblySource.swift).
//
// `~` behind a register says that the value is wanted that it had before the writes that are under way. Software
// pipelines read so; without the mark such a read is an error (HazardChecker.swift).

/// A program of a core.
package struct CoreProgram: Sendable {
  package let bundles: [Bundle]
  /// The address of each bundle in bytes, and behind them that of the end.
  package let addresses: [Int]
  /// The addresses of labels, in bytes.
  package let labels: [String: Int]
  /// Where each bundle stands in the source, counted from 1; empty for a program that was bytes.
  package let lines: [Int]

  /// The most bundles of the assembler that a core holds.
  package static let mostBundles = RegisterMap.programBytes / Bundle.byteCount

  /// The bytes, in the order of memory.
  package var bytes: [UInt8] { bundles.flatMap(\.bytes) }

  /// Assembles a source.
  ///
  /// - Parameters:
  ///   - source: The text.
  ///   - name: What errors call it.
  ///   - symbols: Numbers that the text refers to by names, such as sizes of tiles.
  /// - Throws: `NPUError` with the line at fault.
  package init(
    assembling source: String,
    name: String = "program",
    symbols: Symbols = [:]
  ) throws(NPUError) {
    var known = symbols
    var labels: [String: Int] = [:]
    var texts: [(line: Int, text: Substring)] = []
    for line in try AssemblySource(source, name: name).lines {
      let place = "\(name):\(line.number)"
      var text = line.text[...]
      while let label = Self.label(&text) {
        guard known[label] == nil else {
          throw NPUError(.syntax, "\(label) is there twice", at: place)
        }
        labels[label] = texts.count * Bundle.byteCount
        known[label] = texts.count * Bundle.byteCount
      }
      let tokens = AssemblyLexer.tokens(text)
      guard tokens.first == ".set" else {
        if !tokens.isEmpty { texts.append((line.number, text)) }
        continue
      }
      try Self.at(place) { () throws(NPUError) in
        guard tokens.count > 3, tokens[2] == "," else {
          throw NPUError(.syntax, ".set has a new name, a comma and a number")
        }
        guard known[tokens[1]] == nil else {
          throw NPUError(.syntax, "\(tokens[1]) is there twice")
        }
        var rest = tokens.dropFirst(3)
        known[tokens[1]] = try AssemblyExpression.value(&rest, known)
        guard rest.isEmpty else { throw NPUError(.syntax, "\(rest.joined()) behind a number") }
      }
    }
    guard texts.count <= Self.mostBundles else {
      throw NPUError(.bundle, "\(texts.count) bundles; a core holds \(Self.mostBundles)", at: name)
    }
    var bundles: [Bundle] = []
    for (line, text) in texts {
      try Self.at("\(name):\(line)") { () throws(NPUError) in
        bundles.append(try Bundle(text, known))
      }
    }
    self.bundles = bundles
    addresses = Self.addresses(of: bundles)
    self.labels = labels
    lines = texts.map(\.line)
  }

  /// Reads the bytes of a program, up to where nothing but zeros follows.
  ///
  /// Bundles may have any length. Memory behind a program has zeros, which would be a product.
  ///
  /// - Throws: `NPUError.bytes` with the address of what is no known bundle, or of one that ends too soon.
  package init(bytes: [UInt8]) throws(NPUError) {
    guard bytes.count <= RegisterMap.programBytes else {
      throw NPUError(
        .bytes,
        "\(bytes.count) bytes of a program; a core holds \(RegisterMap.programBytes)"
      )
    }
    let end = bytes.lastIndex { $0 != 0 }.map { $0 + 1 } ?? 0
    var bundles: [Bundle] = []
    var start = 0
    while start < end {
      let next = start + Bundle.length(ofFirst: bytes[start])
      try Self.at("address \(start)") { () throws(NPUError) in
        guard next <= bytes.count else {
          let left = bytes.count - start
          throw NPUError(.bytes, "a bundle of \(next - start) bytes, of which \(left) are there")
        }
        bundles.append(try Bundle(bytes: bytes[start..<next]))
      }
      start = next
    }
    self.bundles = bundles
    addresses = Self.addresses(of: bundles)
    labels = [:]
    lines = []
  }

  private static func addresses(of bundles: [Bundle]) -> [Int] {
    var addresses = [0]
    for bundle in bundles { addresses.append(addresses[addresses.count - 1] + bundle.byteCount) }
    return addresses
  }

  /// Returns which bundle begins at an address; nil if none does.
  ///
  /// - Complexity: O(log n) in the number of bundles.
  package func index(at address: Int) -> Int? {
    var range = 0..<bundles.count
    while !range.isEmpty {
      let middle = range.lowerBound + range.count / 2
      if addresses[middle] == address { return middle }
      range =
        addresses[middle] < address
        ? middle + 1..<range.upperBound : range.lowerBound..<middle
    }
    return nil
  }

  /// Where a bundle stands, for errors.
  package func place(_ index: Int) -> String {
    let address = "bundle \(index)"
    return lines.indices.contains(index) ? "\(address), line \(lines[index])" : address
  }

  private static func at(
    _ place: String,
    _ body: () throws(NPUError) -> Void
  ) throws(NPUError) {
    do throws(NPUError) {
      try body()
    } catch {
      throw NPUError(error.code, error.message, at: place)
    }
  }

  /// Takes a label from the beginning of a line.
  private static func label(_ text: inout Substring) -> String? {
    var rest = text
    guard let name = AssemblyLexer.token(&rest), name.first?.isLetter == true,
      AssemblyLexer.token(&rest) == ":"
    else { return nil }
    text = rest
    return name
  }
}
