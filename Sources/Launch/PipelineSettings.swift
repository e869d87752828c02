// The settings of a pipeline that a user can choose before it is started.

package import Compute
package import Coordinator

/// The settings of a pipeline.
///
/// The launcher chooses those that are nil.
package struct PipelineSettings: Sendable {
  /// The names of the workers' devices, in pipeline order.
  package var devices: [String]?
  /// Whether software stands in for those of the devices that can be emulated.
  package var emulates = false
  /// The number of layers of each worker.
  package var split: [Int]?
  /// The proportions in which the last workers divide the output matrix; needs a split.
  package var logitsSplit: [Int]?
  /// The number of threads of each worker.
  package var threads: [Int]?
  /// The requests that a placement is planned for; nil if only the tokens of answers count.
  package var request: RequestSize?
  /// The most tokens of a session, prompt and answer together.
  package var contextTokens: Int?
  /// The most sessions that are served at once.
  package var slots = 8
  /// Which clients share the cached prefixes of their prompts.
  package var prefixSharing = PrefixSharing.all
  /// How workers keep keys and values; nil for as each device does by itself.
  package var cacheType: CacheType?
  /// The file that the timeline is written to; nil for none.
  package var tracePath: String?
  /// Whether all tokens of a prompt run through the layers that need only the last token.
  package var passesAllLayers = false
  /// Whether workers observe the inputs of products, so that `EvaluationKind.inputs` can be asked for.
  package var observesInputs = false

  package init() {}
}
