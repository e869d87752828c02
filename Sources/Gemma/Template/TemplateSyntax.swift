// The subset of Jinja in which chat templates of Gemma models are written. Anything else is refused
// by name when a template is parsed.

/// A statement of a template.
indirect enum TemplateNode: Sendable, Hashable {
  case text(String)
  case output(TemplateExpression)
  /// Assigns to a name, or to a member of a namespace.
  case set(name: String, member: String?, value: TemplateExpression)
  case setBlock(name: String, body: [TemplateNode])
  case branch([Branch], otherwise: [TemplateNode])
  case loop(Loop)
  case macro(Macro)
  /// Ends the innermost loop.
  case breakLoop
  /// Goes on with the next element of the innermost loop.
  case continueLoop

  struct Branch: Sendable, Hashable {
    var condition: TemplateExpression
    var body: [TemplateNode]
  }

  struct Loop: Sendable, Hashable {
    /// One name, or several among which each element is divided.
    var names: [String]
    var elements: TemplateExpression
    var condition: TemplateExpression?
    var body: [TemplateNode]
    var otherwise: [TemplateNode]
  }

  /// A function that the template defines; what its body outputs is its value.
  struct Macro: Sendable, Hashable {
    var name: String
    var parameters: [Parameter]
    var body: [TemplateNode]
  }

  struct Parameter: Sendable, Hashable {
    var name: String
    /// Nil for a parameter that is undefined if the call leaves it out.
    var initial: TemplateExpression?
  }
}

/// An expression of a template.
indirect enum TemplateExpression: Sendable, Hashable {
  case nothing
  case bool(Bool)
  case integer(Int)
  case string(String)
  case list([TemplateExpression])
  case map([Member])
  case name(String)
  /// `value.member` or `value['member']`, `value[1]`.
  case member(TemplateExpression, TemplateExpression)
  case slice(TemplateExpression, from: TemplateExpression?, to: TemplateExpression?)
  case call(String, [Argument])
  case method(TemplateExpression, String, [Argument])
  case filter(TemplateExpression, String, [Argument])
  case test(TemplateExpression, String)
  case not(TemplateExpression)
  case negative(TemplateExpression)
  case binary(Operator, TemplateExpression, TemplateExpression)
  case choice(TemplateExpression, condition: TemplateExpression, otherwise: TemplateExpression?)

  struct Member: Sendable, Hashable {
    var key: TemplateExpression
    var value: TemplateExpression
  }

  struct Argument: Sendable, Hashable {
    var name: String?
    var value: TemplateExpression
  }

  enum Operator: String, Sendable, Hashable, CaseIterable {
    case and, or
    case equal = "=="
    case unequal = "!="
    case less = "<"
    case greater = ">"
    case atMost = "<="
    case atLeast = ">="
    case contained = "in"
    case add = "+"
    case subtract = "-"
    case join = "~"
    case remainder = "%"
  }
}

/// The names that the interpreter implements.
enum TemplateVocabulary {
  static let functions: Set<String> = ["raise_exception", "namespace", "range"]
  static let filters: Set<String> = [
    "trim", "length", "count", "first", "last", "default", "d", "string", "list", "join", "replace",
    "safe", "upper", "lower", "dictsort", "map",
  ]
  static let tests: Set<String> = [
    "defined", "undefined", "none", "string", "iterable", "sequence", "mapping", "boolean", "true",
    "false", "integer", "float", "number", "even", "odd",
  ]
  static let methods: Set<String> = [
    "strip", "lstrip", "rstrip", "split", "startswith", "endswith", "replace", "get", "upper",
    "lower",
  ]
}
