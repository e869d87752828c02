// Runs a parsed chat template over a conversation. Every step and every byte is counted against a
// limit, because a template comes from a stranger and must end.

internal import ModelFiles

/// One execution of a template.
struct TemplateRun {
  /// The names that are known, the template's own first.
  private var scopes: [[String: TemplateValue]]
  var namespaces: [[String: TemplateValue]] = []
  private var macros: [String: TemplateNode.Macro] = [:]
  private var output = TemplateText()
  private var steps = 0
  private let mostSteps: Int
  private(set) var byteBudget: Int
  private var depth = 0

  // Gemma's templates take about forty steps per message, and a conversation has at most some
  // thousands of messages.
  static let stepLimit = 1 << 20
  // Gemma 4's template looks from each message back at all messages before it. That takes six steps for each of
  // n² / 2 pairs, a second for a thousand messages. Longer conversations get no more steps than these.
  private static let stepsPerPair = 3
  private static let mostPairedMessages = 1024
  /// How deeply statements, expressions and calls may be nested.
  ///
  /// A macro that calls itself needs five for each level of an argument, which is nested 64 deep at most
  /// (`JSONReader`). The limit protects the stack.
  private static let depthLimit = 400
  // A template's own bytes, in addition to those of the messages, each of which it may copy a few
  // times.
  private static let ownByteCount = 1 << 22

  /// Runs a template.
  ///
  /// - Parameters:
  ///   - nodes: The template.
  ///   - values: The variables of the template, by name.
  ///   - size: The size of the conversation, which bounds how much work is done and how much is copied.
  /// - Returns: The text that the template outputs.
  /// - Throws: `GemmaError.template` if the template raises an error, uses something unsupported,
  ///   or exceeds a limit.
  static func text(
    of nodes: [TemplateNode],
    _ values: [String: TemplateValue],
    size: Size
  ) throws(GemmaError) -> TemplateText {
    var run = TemplateRun(values, size)
    _ = try run.execute(nodes)
    return run.output
  }

  /// How large a conversation is.
  struct Size {
    /// The bytes of all texts in it.
    var byteCount: Int
    var messageCount: Int
  }

  private init(_ values: [String: TemplateValue], _ size: Size) {
    scopes = [values]
    byteBudget = Self.ownByteCount + 64 * size.byteCount
    let paired = min(size.messageCount, Self.mostPairedMessages)
    mostSteps = Self.stepLimit + Self.stepsPerPair * paired * paired
  }

  /// Counts a step and the size of what it reads or makes: the bytes of a text or the elements of a
  /// list.
  mutating func charge(_ text: TemplateText? = nil, elements: Int = 0) throws(GemmaError) {
    // Before the addition the count is never above the limit, so the sum cannot overflow.
    steps += 1 + min(elements, mostSteps)
    byteBudget -= text?.byteCount ?? 0
    guard steps <= mostSteps, byteBudget >= 0 else {
      throw GemmaError(.template, "more work than a chat template may take")
    }
  }

  /// Notes that a statement or an expression begins inside of another.
  mutating func enter() throws(GemmaError) {
    depth += 1
    guard depth <= Self.depthLimit else {
      throw GemmaError(.template, "calls nested more deeply than a chat template may")
    }
  }

  mutating func leave() { depth -= 1 }

  // MARK: Statements

  /// How statements go on.
  private enum Flow {
    case next
    case breakLoop
    case continueLoop
  }

  private mutating func execute(_ nodes: [TemplateNode]) throws(GemmaError) -> Flow {
    try enter()
    defer { leave() }
    for node in nodes {
      try charge()
      var flow = Flow.next
      switch node {
      case .text(let text): output.append(TemplateText(text))
      case .output(let expression):
        let text = try value(of: expression).printed()
        try charge(text)
        output.append(text)
      case .set(let name, let member, let expression):
        try assign(try value(of: expression), to: name, member)
      case .setBlock(let name, let body):
        let (text, end) = try captured(body)
        flow = end
        try assign(.text(text), to: name, nil)
      case .branch(let branches, let otherwise):
        flow = try execute(try chosen(branches)?.body ?? otherwise)
      case .loop(let loop): flow = try execute(loop)
      case .macro(let macro): macros[macro.name] = macro
      case .breakLoop: flow = .breakLoop
      case .continueLoop: flow = .continueLoop
      }
      if flow != .next { return flow }
    }
    return .next
  }

  /// Returns what statements output, instead of outputting it.
  private mutating func captured(
    _ body: [TemplateNode]
  ) throws(GemmaError) -> (text: TemplateText, end: Flow) {
    let before = output
    output = TemplateText()
    let end = try execute(body)
    defer { output = before }
    return (output, end)
  }

  private mutating func chosen(
    _ branches: [TemplateNode.Branch]
  ) throws(GemmaError) -> TemplateNode.Branch? {
    for branch in branches where try value(of: branch.condition).isTrue { return branch }
    return nil
  }

  private mutating func assign(
    _ value: TemplateValue,
    to name: String,
    _ member: String?
  ) throws(GemmaError) {
    guard let member else {
      scopes[scopes.count - 1][name] = value
      return
    }
    guard case .namespace(let index) = lookUp(name) else {
      throw GemmaError(.template, "an assignment to a member of \(name.excerpt), no namespace")
    }
    namespaces[index][member] = value
  }

  private mutating func execute(_ loop: TemplateNode.Loop) throws(GemmaError) -> Flow {
    var elements = try value(of: loop.elements).elements()
    if let condition = loop.condition {
      var kept: [TemplateValue] = []
      for element in elements {
        scopes.append(try bind(element, to: loop.names))
        if try value(of: condition).isTrue { kept.append(element) }
        scopes.removeLast()
      }
      elements = kept
    }
    if elements.isEmpty { return try execute(loop.otherwise) }
    for (index, element) in elements.enumerated() {
      let last = elements.count - 1
      let state: [String: TemplateValue] = [
        "index0": .integer(index), "index": .integer(index + 1), "first": .bool(index == 0),
        "last": .bool(index == last), "length": .integer(elements.count),
        "revindex0": .integer(last - index), "revindex": .integer(elements.count - index),
        "previtem": index > 0 ? elements[index - 1] : .undefined("loop.previtem"),
        "nextitem": index < last ? elements[index + 1] : .undefined("loop.nextitem"),
      ]
      // A variable that is set in a loop's body is forgotten at the end of the iteration.
      var scope = try bind(element, to: loop.names)
      scope["loop"] = .map(state)
      scopes.append(scope)
      let flow = try execute(loop.body)
      scopes.removeLast()
      if flow == .breakLoop { break }
    }
    return .next
  }

  /// Returns the names of a loop with their values for one element.
  private func bind(
    _ element: TemplateValue,
    to names: [String]
  ) throws(GemmaError) -> [String: TemplateValue] {
    guard names.count > 1 else { return [names[0]: element] }
    guard case .list(let parts) = element, parts.count == names.count else {
      throw GemmaError(.template, "\(element.kind) for the \(names.count) names of a loop")
    }
    return Dictionary(zip(names, parts)) { _, last in last }
  }

  func lookUp(_ name: String) -> TemplateValue {
    for scope in scopes.reversed() {
      if let value = scope[name] { return value }
    }
    return .undefined(name)
  }

  // MARK: Macros

  /// Calls a macro: its body knows the template's own names and its parameters, not those of the caller.
  mutating func call(
    macro name: String,
    _ arguments: [TemplateExpression.Argument]
  ) throws(GemmaError) -> TemplateValue {
    guard let macro = macros[name] else {
      throw GemmaError(.template, "the macro \(name.excerpt) is called before it is defined")
    }
    var given: [String: TemplateValue] = [:]
    for (index, argument) in arguments.enumerated() {
      let positional = index < macro.parameters.count ? macro.parameters[index].name : nil
      guard let parameter = argument.name ?? positional, given[parameter] == nil,
        macro.parameters.contains(where: { $0.name == parameter })
      else {
        throw GemmaError(.template, "the arguments of the macro \(name.excerpt)")
      }
      given[parameter] = try value(of: argument.value)
    }
    let caller = scopes
    scopes = [caller[0], given]
    for parameter in macro.parameters where given[parameter.name] == nil {
      var value = TemplateValue.undefined(parameter.name)
      if let initial = parameter.initial { value = try self.value(of: initial) }
      scopes[1][parameter.name] = value
    }
    let text = try captured(macro.body).text
    scopes = caller
    return .text(text)
  }
}
