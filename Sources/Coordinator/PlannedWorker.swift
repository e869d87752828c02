// One stage of a placement: who holds which slice of the model.

package import Gemma

/// A place in the pipeline.
package struct PlannedWorker: Sendable, Hashable {
  package var name: String
  package var device: String
  package var slice: ModelSlice

  package init(name: String, device: String, slice: ModelSlice) {
    self.name = name
    self.device = device
    self.slice = slice
  }

  package var layers: Range<Int> { slice.layers }
}
