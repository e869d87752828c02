// The sizes of packed weights, as C states them.

internal import Compute
internal import VulkanKernels

/// The layout of a packed weight, in vectors of 16 bytes.
struct PackedLayout {
  let tileVectors: Int
  let chunkVectors: Int

  init(_ weight: WeightRef) {
    tileVectors = Int(vulkan_tile_bytes(weight.type.number, Int64(weight.columns))) / 16
    chunkVectors = Int(vulkan_chunk_bytes(weight.type.number)) / 16
  }
}
