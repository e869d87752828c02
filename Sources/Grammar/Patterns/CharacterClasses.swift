// The named sets of characters of regular expressions (ECMA-262, 22.2.2).

internal import Synchronization

enum CharacterClasses {
  static let digits = CodePointSet([0x30...0x39])
  static let word = CodePointSet([0x30...0x39, 0x41...0x5A, 0x5F...0x5F, 0x61...0x7A])
  static let lineEnds = CodePointSet([0x0A...0x0A, 0x0D...0x0D, 0x2028...0x2029])
  /// White space and line ends (ECMA-262, 12.2 and 12.3).
  static let space = CodePointSet([
    0x09...0x0D, 0x20...0x20, 0xA0...0xA0, 0x1680...0x1680, 0x2000...0x200A, 0x2028...0x2029,
    0x202F...0x202F, 0x205F...0x205F, 0x3000...0x3000, 0xFEFF...0xFEFF,
  ])

  /// The sets that were asked for: each takes a look at all characters.
  private static let known = Mutex<[String: CodePointSet]>([:])

  /// The characters of a general category of Unicode, by its short name (`L`, `Lu`); nil for an
  /// unknown one.
  ///
  /// It is that of the Unicode version of Swift's standard library.
  static func category(_ name: String) -> CodePointSet? {
    let longNames = ["Letter": "L", "Number": "N", "Punctuation": "P", "Symbol": "S", "Mark": "M"]
    let name = longNames[name] ?? name
    guard names.values.contains(where: { $0.hasPrefix(name) }), !name.isEmpty else { return nil }
    return known.withLock { known in
      if let set = known[name] { return set }
      var ranges: [ClosedRange<UInt32>] = []
      for value in UInt32(0)...0x10FFFF {
        guard let scalar = Unicode.Scalar(value),
          names[scalar.properties.generalCategory]?.hasPrefix(name) == true
        else { continue }
        if let last = ranges.last, last.upperBound + 1 == value {
          ranges[ranges.count - 1] = last.lowerBound...value
        } else {
          ranges.append(value...value)
        }
      }
      let set = CodePointSet(ranges)
      known[name] = set
      return set
    }
  }

  private static let names: [Unicode.GeneralCategory: String] = [
    .uppercaseLetter: "Lu", .lowercaseLetter: "Ll", .titlecaseLetter: "Lt", .modifierLetter: "Lm",
    .otherLetter: "Lo", .nonspacingMark: "Mn", .spacingMark: "Mc", .enclosingMark: "Me",
    .decimalNumber: "Nd", .letterNumber: "Nl", .otherNumber: "No", .connectorPunctuation: "Pc",
    .dashPunctuation: "Pd", .openPunctuation: "Ps", .closePunctuation: "Pe",
    .initialPunctuation: "Pi", .finalPunctuation: "Pf", .otherPunctuation: "Po", .mathSymbol: "Sm",
    .currencySymbol: "Sc", .modifierSymbol: "Sk", .otherSymbol: "So", .spaceSeparator: "Zs",
    .lineSeparator: "Zl", .paragraphSeparator: "Zp", .control: "Cc", .format: "Cf",
    .privateUse: "Co", .unassigned: "Cn",
  ]
}
