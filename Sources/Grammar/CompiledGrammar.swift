// A grammar that was checked and compiled: made once a request, shared by its choices and their
// replays.

/// What answers must conform to.
///
/// Copies share what has been found out about its states, under a lock.
package struct CompiledGrammar: Sendable {
  let store: AutomatonStore

  /// Compiles a source.
  ///
  /// - Throws: `GrammarError` with the keyword's path if it is malformed, holds what is not
  ///   supported, or is too large. Nothing of a source is ignored but annotations.
  /// - Complexity: Bounded by the limits of one grammar: milliseconds for usual sources, below a
  ///   second for all.
  package init(_ source: GrammarSource) throws(GrammarError) {
    var builder = GrammarBuilder()
    let start = try source.build(&builder)
    store = AutomatonStore(
      try builder.finish(start: start),
      byteLimit: GrammarLimits.automatonBytes
    )
  }
}
