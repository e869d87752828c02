// Strings: lengths, patterns and formats.

internal import Synchronization

/// What strings may be.
struct StringPlan {
  var min = 0
  var max: Int?
  /// All that patterns, formats and lengths say, if there is a pattern or a format; else the counts
  /// do.
  var machine: CharacterMachine?

  var isEmpty: Bool { machine?.isEmpty ?? (max.map { $0 < min } ?? false) }

  func accepts(_ text: String) -> Bool {
    if let machine { return machine.accepts(text) }
    let count = text.unicodeScalars.count
    return count >= min && count <= max ?? .max
  }
}

extension SchemaCompiler {
  mutating func stringsAreEmpty(_ flat: [Int]) throws(GrammarError) -> Bool {
    try stringPlan(flat).isEmpty
  }

  /// The node of strings.
  mutating func string(
    _ flat: [Int],
    _ builder: inout GrammarBuilder
  ) throws(GrammarError) -> Int32 {
    let plan = try stringPlan(flat)
    guard let machine = plan.machine else {
      return try builder.string(min: plan.min, max: plan.max)
    }
    return try builder.string(of: machine, at: flat.first.map { document.path($0) } ?? "")
  }

  /// What the strings of all subschemas may be.
  mutating func stringPlan(_ flat: [Int]) throws(GrammarError) -> StringPlan {
    var plan = StringPlan(
      min: try count(flat, "minLength", max) ?? 0,
      max: try count(flat, "maxLength", min)
    )
    var path = ""
    for id in flat {
      for keyword in ["pattern", "format"] {
        guard let value = document[id, keyword] else { continue }
        path = document.path(id, keyword)
        guard case .string(let text) = value else {
          throw GrammarError(.malformed, "'\(keyword)' is a string", at: path)
        }
        guard
          let machine = try keyword == "pattern" ? pattern(text, at: path) : format(text, at: path)
        else { continue }
        plan.machine = try plan.machine?.intersection(machine, at: path) ?? machine
      }
    }
    if let machine = plan.machine, plan.min > 0 || plan.max != nil {
      let length = try CharacterMachine.length(min: plan.min, max: plan.max, at: path)
      plan.machine = try machine.intersection(length, at: path)
    }
    return plan
  }

  /// The texts in which a pattern matches.
  mutating func pattern(_ text: String, at path: String) throws(GrammarError) -> CharacterMachine {
    let key = PatternKey(text: text, isAnchored: false)
    if let known = machines[key] { return known }
    let machine = try CharacterMachine(pattern: text, isAnchored: false, at: path)
    machines[key] = machine
    return machine
  }

  /// The texts of a format; nil for one that allows all.
  private func format(_ name: String, at path: String) throws(GrammarError) -> CharacterMachine? {
    guard let format = StringFormats.patterns[name] else {
      throw GrammarError(.unsupported, "the format '\(name)' is not supported", at: path)
    }
    // The machines of formats are the same for all schemas.
    return try StringFormats.machines.withLock { machines throws(GrammarError) in
      if let known = machines[name] { return known }
      let machine = try CharacterMachine(pattern: format, isAnchored: true, at: path)
      machines[name] = machine
      return machine
    }
  }
}

/// Formats as patterns.
///
/// Each allows only texts that are of the format, and for some not all of
/// them.
enum StringFormats {
  /// Those that were asked for.
  static let machines = Mutex<[String: CharacterMachine]>([:])

  // RFC 3339, section 5.6, and the days that its 5.7 says a month has; no year 0000, no leap
  // seconds, and `T` and `Z` as capitals.
  private static let year = "(?:[1-9]\\d{3}|0[1-9]\\d{2}|00[1-9]\\d|000[1-9])"
  private static let leapYear =
    "(?:(?:\\d\\d(?:0[48]|[2468][048]|[13579][26]))|(?:(?:0[48]|[2468][048]|[13579][26])00))"
  static let date =
    "(?:\(year)-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\\d|3[01])|(?:0[469]|11)-(?:0[1-9]|[12]\\d|30)"
    + "|02-(?:0[1-9]|1\\d|2[0-8]))|\(leapYear)-02-29)"
  static let time =
    "(?:[01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(?:\\.\\d{1,9})?(?:Z|[+-](?:[01]\\d|2[0-3]):[0-5]\\d)"

  private static let byte = "(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)"
  private static let ipv4 = "\(byte)(?:\\.\(byte)){3}"
  private static let label = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"

  /// RFC 4291, section 2.2, without zones.
  private static let ipv6: String = {
    let group = "[0-9A-Fa-f]{1,4}"
    var forms = ["(?:\(group):){7}\(group)", "(?:\(group):){6}\(ipv4)"]
    // `::` stands for at least one group; so many groups are before and behind it.
    for before in 0...7 {
      let head = before == 0 ? "" : "\(group)(?::\(group)){\(before - 1)}"
      let room = 7 - before
      let tail = room == 0 ? "" : "(?:\(group)(?::\(group)){0,\(room - 1)})?"
      forms.append("\(head)::\(tail)")
      if room >= 2 { forms.append("\(head)::(?:\(group):){0,\(room - 2)}\(ipv4)") }
    }
    return "(?:" + forms.joined(separator: "|") + ")"
  }()

  // RFC 3986, appendix A; hosts by name or IPv4 address.
  private static let pathCharacter = "(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})"
  private static let uri =
    "[A-Za-z][A-Za-z0-9+.-]*:(?:"
    + "//(?:(?:[A-Za-z0-9._~!$&'()*+,;=:-]|%[0-9A-Fa-f]{2})*@)?"
    + "(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*(?::\\d{1,5})?(?:/\(pathCharacter)*)*"
    + "|/(?:\(pathCharacter)+(?:/\(pathCharacter)*)*)?|(?:\(pathCharacter)+(?:/\(pathCharacter)*)*)?)"
    + "(?:\\?(?:\(pathCharacter)|[/?])*)?(?:#(?:\(pathCharacter)|[/?])*)?"

  static let patterns: [String: String] = [
    "date": date,
    "time": time,
    "date-time": "\(date)T\(time)",
    // RFC 3339, appendix A.
    "duration":
      "P(?:\\d{1,9}W|(?:\\d{1,9}Y(?:\\d{1,9}M(?:\\d{1,9}D)?)?|\\d{1,9}M(?:\\d{1,9}D)?|\\d{1,9}D)"
      + "(?:T(?:\\d{1,9}H(?:\\d{1,9}M(?:\\d{1,9}S)?)?|\\d{1,9}M(?:\\d{1,9}S)?|\\d{1,9}S))?"
      + "|T(?:\\d{1,9}H(?:\\d{1,9}M(?:\\d{1,9}S)?)?|\\d{1,9}M(?:\\d{1,9}S)?|\\d{1,9}S))",
    "uuid": "[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}",
    "email": "[A-Za-z0-9_+-]+(?:\\.[A-Za-z0-9_+-]+)*@\(label)(?:\\.\(label))*",
    "hostname": "\(label)(?:\\.\(label)){0,3}",
    "ipv4": ipv4,
    "ipv6": ipv6,
    "uri": uri,
  ]
}
