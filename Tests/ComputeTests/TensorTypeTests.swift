// The geometry of stored types: how many elements a block has, how many bytes.

import Compute
import Testing

@Suite struct `Tensor types` {
  /// Counted from the structs of ggml-common.h: QK and sizeof(block_*).
  private static let geometry: [(type: TensorType, length: Int, bytes: Int)] = [
    (.f32, 1, 4), (.f16, 1, 2), (.bf16, 1, 2),
    (.q4_0, 32, 2 + 16),
    (.q4_1, 32, 2 + 2 + 16),
    (.q5_0, 32, 2 + 4 + 16),
    (.q5_1, 32, 2 + 2 + 4 + 16),
    (.q8_0, 32, 2 + 32),
    (.q2_K, 256, 16 + 64 + 2 + 2),
    (.q3_K, 256, 32 + 64 + 12 + 2),
    (.q4_K, 256, 2 + 2 + 12 + 128),
    (.q5_K, 256, 2 + 2 + 12 + 32 + 128),
    (.q6_K, 256, 128 + 64 + 16 + 2),
    (.iq4_nl, 32, 2 + 16),
    (.iq4_xs, 256, 2 + 2 + 4 + 128),
  ]

  @Test func `blocks are as long and as large as ggml's`() {
    #expect(Self.geometry.map(\.type) == TensorType.allCases)
    for (type, length, bytes) in Self.geometry {
      #expect(type.blockLength == length, "\(type)")
      #expect(type.blockByteCount == bytes, "\(type)")
      #expect(type.isQuantised == (length > 1), "\(type)")
    }
  }

  @Test(arguments: TensorType.allCases)
  func `a row's bytes are those of its whole blocks`(_ type: TensorType) {
    #expect(type.byteCount(columns: 0) == 0)
    #expect(type.byteCount(columns: type.blockLength) == type.blockByteCount)
    #expect(type.byteCount(columns: 512) == 512 / type.blockLength * type.blockByteCount)
  }

  @Test(arguments: TensorType.allCases)
  func `a row that blocks do not divide has no size`(_ type: TensorType) {
    #expect(type.byteCount(columns: -type.blockLength) == nil)
    guard type.isQuantised else { return }
    #expect(type.byteCount(columns: 1) == nil)
    #expect(type.byteCount(columns: type.blockLength - 1) == nil)
    #expect(type.byteCount(columns: 3 * type.blockLength + 16) == nil)
  }

  @Test(arguments: TensorType.allCases)
  func `a row too large to count has no size`(_ type: TensorType) {
    let columns = Int.max / type.blockLength * type.blockLength
    // A block of four bits has fewer bytes than elements: its rows cannot be too large.
    let fits = type.blockByteCount <= type.blockLength
    #expect((type.byteCount(columns: columns) != nil) == fits)
  }
}
