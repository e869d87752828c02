// What a description of a device says of ops, and the devices of the host.

import Compute
import Testing

@Suite struct `Device description` {
  private let whole = DeviceDescription(
    kind: .npu,
    name: "npu",
    memory: .host(1 << 30),
    hostThreads: 0,
    preferredRows: 16,
    rateHint: 4
  )

  private func product(_ type: TensorType) -> Op {
    .matmul(
      Matmul(
        input: BufferID(index: 0),
        weight: WeightRef(name: "down", rows: 0..<8, columns: 256, type: type),
        output: BufferID(index: 1)
      )
    )
  }

  private func reason(_ device: DeviceDescription, _ op: Op) -> String? {
    if case .unsupported(let reason) = device.support(for: op) { reason } else { nil }
  }

  @Test func `a device can do everything unless it says otherwise`() {
    for type in TensorType.allCases { #expect(whole.support(for: product(type)) == .supported) }
  }

  @Test func `an op that is refused, or not known, is refused with its reason`() throws {
    var device = whole
    let place = try #require(device.ops.firstIndex { $0.op == .matmul })
    device.ops[place].support = .unsupported(reason: "products are too hard")
    #expect(reason(device, product(.f32)) == "products are too hard")
    device.ops.remove(at: place)
    #expect(reason(device, product(.f32)) == "npu does not know matmul")
  }

  @Test func `a type of weights that is refused, or not known, is refused with its weight`() throws
  {
    var device = whole
    let place = try #require(device.weightTypes.firstIndex { $0.type == .q4_K })
    device.weightTypes[place].support = .unsupported(reason: "no such decoder")
    #expect(reason(device, product(.q4_K)) == "down is q4_K: no such decoder")
    #expect(reason(device, product(.q8_0)) == nil)
    device.weightTypes.remove(at: place)
    #expect(reason(device, product(.q4_K)) == "npu does not know weights of q4_K")
  }

  @Test func `the reference says what it is given, and has the machine's memory`() {
    let device = ReferenceBackend(threads: 3, memoryByteCount: 1 << 20).device
    #expect(device.name == "reference" && device.kind == .cpu && !device.isEmulated)
    #expect(device.hostThreads == 3 && device.rateHint == 3)
    #expect(
      device.memory
        == DeviceMemory(byteCount: 1 << 20, isHostMemory: true, isSharedByWorkers: true)
    )
    #expect(ReferenceBackend().device.memory.byteCount > 1 << 20)
    #expect(device.cacheTypes == [.f32])
  }

  @Test func `an op is called as its kind is`() {
    #expect(product(.f32).kind == .matmul && product(.f32).name == "matmul")
  }
}
