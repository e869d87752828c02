// Escapes text from peers and files, so that it stays on one line. Names, reasons and paths in it
// must neither break a log into lines nor control a terminal. The command line escapes where text
// is shown to people (log, tables, errors). Text that is already escaped does not change. A model's
// answers and JSON are not escaped.

extension String {
  /// The text with control, format and line-breaking characters written as `\n` or `\u{1B}`.
  ///
  /// These are the C0 and C1 sets of ECMA-48, and Unicode's general categories Cf (which has
  /// invisible characters and those that change the direction of text), Zl and Zp.
  package var printable: String {
    guard unicodeScalars.contains(where: \.isUnprintable) else { return self }
    var line = ""
    for scalar in unicodeScalars {
      if scalar.isUnprintable {
        line += scalar.escaped(asASCII: true)
      } else {
        line.unicodeScalars.append(scalar)
      }
    }
    return line
  }
}

extension Unicode.Scalar {
  fileprivate var isUnprintable: Bool {
    switch properties.generalCategory {
    case .control, .format, .lineSeparator, .paragraphSeparator: true
    default: false
    }
  }
}
