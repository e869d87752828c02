// How an NPU is used.

/// How an NPU is used; the defaults are for a real one.
package struct NPUSettings: Sendable, Hashable {
  /// The fewest rows of a step whose products the array does; nil for what pays beside the CPU's threads.
  package var leastRows: Int?
  /// The fewest elements of a weight that is for the array; a smaller one is multiplied before a command has begun.
  package var leastElements = 1 << 18
  /// How long a chain of commands may take: many times what a layer's products of 512 rows do.
  package var patience = Duration.seconds(5)
  /// Rows and columns of cores that multiply; fewer than four are for tests.
  package var side = 4

  /// The fewest rows for which the array is faster than so many threads.
  ///
  /// Whatever its rows up to 256, a product takes the array some 59 ps for each element of the weight (docs/SPEED.md, "The
  /// XDNA1 NPU, projected"). In that time a thread that is taken to do 300 GOPS multiplies eight rows or nine.
  static func leastRows(threads: Int) -> Int { max(16, 8 * threads) }

  package init() {}

  /// For an emulation, which is there to be tried: the products of small models go to it, too, and it may take its time.
  static let emulated: NPUSettings = {
    var settings = NPUSettings()
    settings.leastRows = 16
    settings.leastElements = 1 << 12
    settings.patience = .seconds(60)
    return settings
  }()
}
