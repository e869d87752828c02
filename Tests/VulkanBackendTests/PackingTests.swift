// Packed weights: how large they are. What they hold the products of the conformance suite show.

import Compute
import Testing
import VulkanKernels

@Suite struct `Packed weights` {
  @Test(arguments: TensorType.allCases)
  func `a product reads at most a twentieth more than the file has`(_ type: TensorType) throws {
    // The widths of Gemma 3 270M, Gemma 3n E2B and Gemma 4 E2B.
    for columns in [640, 1536, 2048, 8192] where columns.isMultiple(of: type.blockLength) {
      let stored = try #require(type.byteCount(columns: columns)) * Int(VULKAN_TILE_ROWS)
      let packed = Int(vulkan_tile_bytes(type.number, Int64(columns)))
      #expect(packed >= stored, "\(columns) columns")
      #expect(Double(packed) <= 1.05 * Double(stored), "\(columns) columns: \(packed) of \(stored)")
    }
  }

  @Test func `by columns, weights have the bytes of the file`() throws {
    let stored = try #require(TensorType.q4_0.byteCount(columns: 8192))
    #expect(Int(vulkan_column_tile_bytes(8192)) == Int(VULKAN_COLUMN_TILE_ROWS) * stored)
    #expect(vulkan_column_tile_bytes(33) == -1)
    #expect(vulkan_column_tile_bytes(0) == -1)
  }

  @Test func `rows that are no whole blocks, and types without kernels, have no tiles`() {
    #expect(vulkan_tile_bytes(TensorType.q4_0.number, 33) == -1)
    #expect(vulkan_tile_bytes(TensorType.q4_K.number, 128) == -1)
    #expect(vulkan_tile_bytes(TensorType.f32.number, 0) == -1)
    #expect(vulkan_tile_bytes(4711, 256) == -1)
  }
}
