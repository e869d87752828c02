// The tables of weight types, one in C and one in Swift, against each other; and the sizes that C states.

import CPUBackend
import CPUKernels
import Compute
import Testing

/// Returns the kernels of an instruction set that this machine has.
func kernelTable(of set: InstructionSet) throws -> UnsafePointer<cpu_kernels> {
  let identifier =
    switch set {
    case .scalar: CPU_SCALAR
    case .avx2: CPU_AVX2
    case .avx512vnni: CPU_AVX512VNNI
    }
  return unsafe try #require(cpu_kernels_for(identifier))
}

@Suite struct `The tables of weight types` {
  @Test func `C has as many types as Swift`() {
    #expect(Int(cpu_type_count()) == TensorType.allCases.count)
  }

  @Test(arguments: TensorType.allCases)
  func `C and Swift say the same of a type`(_ type: TensorType) throws {
    let row = unsafe cpu_type_row_of(cpu_type(rawValue: type.number))
    let name = unsafe try #require(row.name, "C has no type \(type.number)")
    #expect(unsafe String(cString: name) == type.rawValue)
    #expect(unsafe Int(row.columns) == type.blockLength)
    #expect(unsafe Int(row.bytes) == type.blockByteCount)
    #expect(unsafe row.is_quantised == type.isQuantised)
  }

  @Test(arguments: TensorType.allCases)
  func `a type has the kernels that its row promises`(_ type: TensorType) throws {
    for set in instructionSets {
      let kernels = unsafe try kernelTable(of: set)
      let identifier = cpu_type(rawValue: type.number)
      #expect(unsafe cpu_matmul(kernels, identifier) != nil, "\(set)")
      #expect(unsafe (cpu_scale_selected(kernels, identifier) != nil) == type.isQuantised, "\(set)")
    }
  }

  @Test func `a number that no type has is told, not followed`() throws {
    let kernels = unsafe try #require(cpu_kernels_for(CPU_SCALAR))
    let numbers = Set(TensorType.allCases.map(\.number))
    for number in Set(0..<UInt32(CPU_TYPE_LIMIT) + 2).union([.max]).subtracting(numbers) {
      let unknown = cpu_type(rawValue: number)
      #expect(unsafe cpu_type_row_of(unknown).name == nil, "\(number)")
      #expect(unsafe cpu_matmul(kernels, unknown) == nil, "\(number)")
      #expect(unsafe cpu_scale_selected(kernels, unknown) == nil, "\(number)")
    }
  }
}

@Suite struct `Sizes that C states` {
  private let rows: Int64 = 7
  private let width: Int64 = 96

  /// Where memory of so many bytes ends, and each piece of it begins.
  private func offsets(
    _ byteCount: Int64,
    _ pieces: (UnsafeMutableRawPointer) -> [UnsafeRawPointer]
  ) -> [Int] {
    let memory = UnsafeMutableRawPointer.allocate(byteCount: Int(byteCount), alignment: 64)
    defer { unsafe memory.deallocate() }
    return unsafe pieces(memory).map { unsafe $0 - UnsafeRawPointer(memory) } + [Int(byteCount)]
  }

  @Test func `the planes of int8 activations lie one behind the other and fill their memory`() {
    let found = unsafe offsets(cpu_quantised_bytes(rows, width)) { memory in
      let copy = unsafe cpu_quantised_at(memory, rows, width)
      return unsafe [
        UnsafeRawPointer(copy.quants), UnsafeRawPointer(copy.scales), UnsafeRawPointer(copy.sums),
        UnsafeRawPointer(copy.eights), UnsafeRawPointer(copy.halves),
      ]
    }
    // 21 blocks: 32 bytes of quants each, and four bytes of all others, halves twice.
    #expect(found == [0, 672, 756, 840, 924, 924 + 168])
  }

  @Test func `lists of selected columns have room for all columns and one more`() {
    let found = unsafe offsets(cpu_selected_bytes(rows, width)) { memory in
      let selected = unsafe cpu_selected_at(memory, rows, width)
      #expect(unsafe selected.stride == width + 1)
      return unsafe [UnsafeRawPointer(selected.counts), UnsafeRawPointer(selected.indices)]
    }
    #expect(found == [0, 28, 28 + 7 * 97 * 4])
  }

  @Test func `rotations are cosines, then sines`() {
    let found = unsafe offsets(cpu_rotations_bytes(rows, 32)) { memory in
      let rotations = unsafe cpu_rotations_at(memory, rows, 32)
      return unsafe [UnsafeRawPointer(rotations.cosines), UnsafeRawPointer(rotations.sines)]
    }
    #expect(found == [0, 896, 1792])
  }

  @Test func `sizes beyond all numbers are told`() {
    for rows in [Int64.max, 1 << 40] {
      #expect(cpu_quantised_bytes(rows, 1 << 40) == -1)
      #expect(cpu_selected_bytes(rows, 1 << 40) == -1)
      #expect(cpu_rotations_bytes(rows, 1 << 40) == -1)
    }
    #expect(cpu_selected_bytes(1, .max) == -1)
    #expect(cpu_quantised_bytes(-1, 32) == -1)
  }
}
