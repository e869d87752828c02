// What a driver's compiler makes of the kernels: registers, instructions, occupancy. It works on drivers that
// have no device, too, so it needs no memory.

internal import CVulkan
package import Compute
internal import VulkanKernels

/// A kernel as a driver has compiled it.
package struct ShaderStatistics: Encodable, Sendable {
  /// The name of the shader.
  package var shader: String
  /// What it was compiled for.
  package var variant: String
  /// What the driver tells, by its own names.
  package var numbers: [String: Double]
  /// The instructions; empty if the driver does not show them.
  package var assembly: String
}

extension ShaderStatistics {
  /// Compiles all kernels for a device, as a GPU of its kind would run them.
  ///
  /// - Throws: `ComputeError` with code `device` if there is none, or its driver has no statistics.
  package static func all(deviceIndex: Int?) throws(ComputeError) -> [ShaderStatistics] {
    let instance = try VulkanInstance.open()
    let info = try instance.device(deviceIndex, isToCompute: false)
    guard info.hasStatistics else {
      throw ComputeError(
        .device,
        "\(info.name): its driver has no VK_KHR_pipeline_executable_properties"
      )
    }
    let device = try VulkanDevice(info, of: instance)
    var all: [ShaderStatistics] = []
    for (kernel, variant) in kernels(device.tuning) {
      all.append(try statistics(kernel, variant, on: device))
    }
    return all
  }

  /// The name of a variant of a product.
  static func variant(_ product: Tuning.Product, isGated: Bool) -> String {
    "\(product.tokens) rows, \(product.threads) lanes\(isGated ? ", gated" : "")"
  }

  private static func kernels(_ tuning: Tuning) -> [(Kernel, variant: String)] {
    var kernels: [(Kernel, variant: String)] = []
    func add(_ type: TensorType, _ layout: PackedLayout, rows: Int, isGated: Bool = false) {
      let product = tuning.product(rows: rows, layout)
      kernels.append(
        (
          Kernel(
            shader: DispatchLowering.shader(of: type, layout),
            constants: product.constants + [isGated ? 1 : 0] + (type.isQuantised ? [] : [1])
          ),
          variant(product, isGated: isGated)
        )
      )
    }
    for type in TensorType.allCases {
      for rows in [1, 4, 64] { add(type, .byRows, rows: rows) }
    }
    add(.q4_0, .byRows, rows: 1, isGated: true)
    for rows in [1, 4] { add(.q4_0, .byColumns, rows: rows) }
    let lanes = UInt32(tuning.lanes)
    let rowLanes = UInt32(tuning.rowThreads)
    let others: [(String, [UInt32], String)] = [
      ("add_normed", [rowLanes, 1, 2, 1, 1], "two residuals, a norm behind"),
      ("altup_correct", [rowLanes, 1, 4, 1], "four streams"),
      ("altup_predict", [rowLanes, 1, 4], "four streams"),
      ("append", [lanes, 1], "f16"),
      ("append_q8_0", [lanes], ""),
      ("attend", [rowLanes, 4, 256, 1], "4 heads of 256, f16"),
      ("attend", [rowLanes, 8, 512, 1], "8 heads of 512, f16"),
      ("attend", [rowLanes, 4, 256, 2], "4 heads of 256, q8_0"),
      ("attend_merge", [rowLanes, 256], "heads of 256"),
      ("cut_gate", [rowLanes], ""),
      ("expand", [rowLanes], ""),
      ("gate", [lanes], ""),
      ("heads", [rowLanes, 1, 1], "rotated"),
      ("inject", [rowLanes, 1], ""),
      ("keep", [lanes], ""),
      ("merge", [rowLanes, 1], ""),
      ("norm", [rowLanes, 1], ""),
      ("per_layer", [rowLanes, 1], ""),
      ("quantise", [lanes], ""),
    ]
    return kernels + others.map { (Kernel(shader: $0, constants: $1), $2) }
  }

  private static func statistics(
    _ kernel: Kernel,
    _ variant: String,
    on device: VulkanDevice
  ) throws(ComputeError) -> ShaderStatistics {
    let pipeline = try device.compile(
      kernel,
      bindings: bindingCount(of: kernel.shader),
      captures: true
    )
    defer { unsafe cvk_destroy_pipeline(device.handle, pipeline.handle) }
    var numbers = Array(repeating: cvk_statistic(), count: 64)
    var count: UInt32 = 0
    let result = unsafe numbers.withUnsafeMutableBufferPointer { numbers in
      unsafe cvk_pipeline_statistics(
        device.handle,
        pipeline.handle,
        numbers.baseAddress,
        UInt32(numbers.count),
        &count
      )
    }
    try check(result, "vkGetPipelineExecutableStatisticsKHR")
    var named: [String: Double] = [:]
    for var number in numbers.prefix(Int(count)) {
      let name = unsafe withUnsafeBytes(of: &number.name) { bytes in
        unsafe String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
      }
      named[name] = number.value
    }
    return ShaderStatistics(
      shader: kernel.shader,
      variant: variant,
      numbers: named,
      assembly: try assembly(pipeline, on: device)
    )
  }

  private static func assembly(
    _ pipeline: Pipeline,
    on device: VulkanDevice
  ) throws(ComputeError) -> String {
    let call = "vkGetPipelineExecutableInternalRepresentationsKHR"
    var count = 0
    try check(
      unsafe cvk_pipeline_assembly(device.handle, pipeline.handle, nil, &count),
      call
    )
    guard count > 0 else { return "" }
    var text = Array(repeating: CChar(0), count: count)
    let result = unsafe text.withUnsafeMutableBufferPointer { text in
      unsafe cvk_pipeline_assembly(device.handle, pipeline.handle, text.baseAddress, &count)
    }
    try check(result, call)
    return String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  /// Returns how many bindings a shader has: one more than the largest number that its SPIR-V gives one.
  private static func bindingCount(of name: String) -> Int {
    guard let shader = unsafe vulkan_shader_named(name) else {
      preconditionFailure("there is no shader \(name)")
    }
    let words = unsafe UnsafeBufferPointer(
      start: shader.pointee.words,
      count: shader.pointee.byte_count / 4
    )
    // The header has five words; an instruction has its length in the upper half of its first word.
    var place = 5
    var count = 0
    while place < words.count {
      let (length, code) = unsafe (Int(words[place] >> 16), words[place] & 0xFFFF)
      // OpDecorate (71) of an object with Binding (33).
      if code == 71, unsafe words[place + 2] == 33 {
        count = max(count, unsafe Int(words[place + 3]) + 1)
      }
      place += max(length, 1)
    }
    return count
  }
}
