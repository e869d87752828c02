// The automaton that all states of one grammar share, and its replacement when it has grown too
// large.

internal import Synchronization

/// Holds the automaton of a grammar.
///
/// An automaton is a cache: all of it can be made again from the rules. States hold the one that
/// they were made with, and take over their stack when another has taken its place.
// Unchecked: automata are touched under the lock only; states hold references to them and look at
// them in `with`.
final class AutomatonStore: @unchecked Sendable {
  private let lock = Mutex<Void>(())
  private var current: Automaton
  private let byteLimit: Int

  /// `byteLimit`: what an automaton may hold, in bytes.
  init(_ table: RuleTable, byteLimit: Int) {
    current = Automaton(table)
    self.byteLimit = byteLimit
  }

  /// Calls with the present automaton and the stack in it; `place` follows to the present
  /// automaton.
  func with<Result>(_ place: inout Place, _ body: (Automaton, inout Int32) -> Result) -> Result {
    lock.withLock { _ in
      if current.byteCount > byteLimit { current = Automaton(current.table) }
      if let old = place.automaton {
        if old !== current { place.stack = current.adopt(place.stack, from: old) }
      } else {
        place.stack = current.initial
      }
      place.automaton = current
      return body(current, &place.stack)
    }
  }

  /// Where a state is: a stack of an automaton.
  // Unchecked: only `with` follows the reference.
  struct Place: @unchecked Sendable {
    /// Nil before the first byte.
    fileprivate var automaton: Automaton?
    fileprivate var stack: Int32 = 0
  }
}
