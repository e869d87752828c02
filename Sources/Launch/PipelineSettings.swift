// What a user can say of a pipeline before it is started.

package import Compute
package import Coordinator

/// How a pipeline is made up; nil leaves a choice to the launcher.
package struct PipelineSettings: Sendable {
  /// The names of the workers' devices, in pipeline order.
  package var devices: [String]?
  /// Layers a worker.
  package var split: [Int]?
  /// With a split: proportions of the output matrix over the last workers.
  package var logitsSplit: [Int]?
  /// Threads a worker.
  package var threads: [Int]?
  /// Tokens a session may have, prompt and answer.
  package var contextTokens: Int?
  /// Sessions served at once.
  package var slots = 8
  /// Between which clients prefixes of prompts are shared.
  package var prefixSharing = PrefixSharing.all
  /// How CPU workers keep keys and values.
  package var cacheType: CacheType?
  /// Where a timeline is written; nil for none.
  package var tracePath: String?
  /// Whether a prompt's tokens run through layers that need only the last.
  package var passesAllLayers = false

  package init() {}
}
