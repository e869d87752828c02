// The geometry of stored types: how many elements a block has, how many bytes.

import Compute
import Testing

@Suite struct `Tensor types` {
  // Blocks of quantised types are held against the package that defines them (DequantizeTests), and all
  // numbers and sizes against the kernels' own table (CPUBackendTests).
  @Test func `types are told apart by their numbers, and floats have no blocks`() {
    #expect(Set(TensorType.allCases.map(\.number)).count == TensorType.allCases.count)
    let floats: [(type: TensorType, bytes: Int)] = [(.f32, 4), (.f16, 2), (.bf16, 2)]
    #expect(TensorType.allCases.filter { !$0.isQuantised } == floats.map(\.type))
    for (type, bytes) in floats {
      #expect(type.blockLength == 1 && type.blockByteCount == bytes, "\(type)")
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
