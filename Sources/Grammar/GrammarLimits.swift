// What one grammar may take. Each is far above what schemas of real services need, and low enough
// that a hostile one costs milliseconds and megabytes.

enum GrammarLimits {
  /// Bytes of a source.
  static let sourceBytes = 1 << 20
  /// Nesting of JSON in a source, and of groups in a pattern or in GBNF.
  static let sourceDepth = 96
  /// Nodes of a compiled grammar; 10,000 values of an enum take about 30,000.
  static let nodes = 400_000
  static let rules = 100_000
  /// States of one pattern's machine, or of a product of several.
  static let machineStates = 8_192
  /// Steps in making one machine: transitions of states or of products.
  static let machineSteps = 2_000_000
  /// Alternatives into which anyOf, oneOf and allOf of one schema multiply out.
  static let alternatives = 512
  /// Of these, combinations: of one choice with another.
  static let combinations = 96
  /// Patterns beside each other in patternProperties: each subset of them is a kind of property.
  static let propertyPatterns = 5
  /// The largest count in a repetition; larger upper bounds mean "any number".
  static let count = Int(Int32.max) - 1
  /// Frames of a stack: how deep an answer can nest, at about three frames a level of JSON.
  static let stackFrames = 600
  /// Alternatives a state keeps apart.
  ///
  /// Beyond it the last are dropped: fewer answers, all of them
  /// valid.
  static let stateFrames = 1_024
  /// Expansions that may be needed to find which bytes follow in one state.
  static let closureSteps = 8_192
  /// Bytes that an automaton may hold before a new one takes its place.
  static let automatonBytes = 48 << 20
  /// Masks kept for one grammar; 32 KiB each for 262,144 tokens.
  static let masks = 192
}
