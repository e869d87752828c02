// Text of strangers on one line: names, reasons and paths come from peers and files, and what they hold
// must neither break a log into lines nor steer a terminal. The one place that escapes it: the command
// line does so where text leaves for people (log, tables, errors). What is escaped already stays so. A
// model's own text and JSON are left as they are.

extension String {
  /// The text with control, format and line-breaking characters written as `\n` or `\u{1B}`.
  ///
  /// The C0 and C1 sets of ECMA-48, and of Unicode's general categories Cf (what turns the direction
  /// of text, what is invisible), Zl and Zp.
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
