// What device names and thread counts mean, and how CPUs are shared out.

import FakeGPUBackend
import Launch
import Testing

@Suite struct `Worker plans` {
  let four = AvailableCPUs(allowed: [2, 3, 6, 7], usableCount: 4)

  private func resolve(
    _ devices: [String]?,
    threads: [Int]? = nil,
    on cpus: AvailableCPUs
  ) throws -> [WorkerPlan] {
    var settings = PipelineSettings()
    settings.devices = devices
    settings.threads = threads
    return try WorkerPlan.resolve(settings, among: .tested(), on: cpus)
  }

  @Test func `without devices one worker has the default device and all CPUs`() throws {
    let plans = try resolve(nil, on: four)
    #expect(plans.map(\.name) == ["cpu-0"])
    #expect(plans.map(\.threads) == [4])
    #expect(plans.map(\.cpus) == [[2, 3, 6, 7]])
  }

  @Test func `workers are numbered by kind and get CPUs of their own`() throws {
    let plans = try resolve(["cpu", "reference", "cpu"], threads: [1, 1, 2], on: four)
    #expect(plans.map(\.name) == ["cpu-0", "reference-0", "cpu-1"])
    #expect(plans.map(\.device.name) == ["cpu", "reference", "cpu"])
    #expect(plans.map(\.cpus) == [[2], [3], [6, 7]])
  }

  @Test func `a device that takes few of the host's threads leaves the others theirs`() throws {
    let kinds = [DeviceKind("fake-gpu") { _ in FakeGPU() }]
    var settings = PipelineSettings()
    settings.devices = ["fake-gpu", "cpu"]
    let plans = try WorkerPlan.resolve(settings, among: .tested(adding: kinds), on: four)
    #expect(plans.map(\.threads) == [1, 3])
    #expect(plans.map(\.cpus) == [[2], [3, 6, 7]])
  }

  @Test func `CPUs are shared out evenly, and what is left over stays free`() throws {
    let plans = try resolve(["cpu", "cpu", "cpu"], on: four)
    #expect(plans.map(\.threads) == [1, 1, 1])
    #expect(plans.map(\.cpus) == [[2], [3], [6]])
  }

  @Test func `more workers than CPUs have a thread each, which stays nowhere`() throws {
    let plans = try resolve(
      ["cpu", "cpu", "cpu"],
      on: AvailableCPUs(allowed: [0, 1], usableCount: 2)
    )
    #expect(plans.map(\.threads) == [1, 1, 1])
    #expect(plans.allSatisfy { $0.cpus == nil })
  }

  @Test func `a control group's time counts, not the CPUs it may be had on`() throws {
    let plans = try resolve(["cpu"], on: AvailableCPUs(allowed: [0, 1, 2, 3], usableCount: 2))
    #expect(plans.map(\.threads) == [2])
    #expect(plans.map(\.cpus) == [[0, 1]])
  }

  @Test(arguments: [
    (["gpu"], "unknown device \"gpu\"; use cpu, reference"),
    (["cpu", ""], "unknown device \"\"; use cpu, reference"),
    (["npu"], "device npu: this version has no backend for it; use cpu, reference"),
  ])
  func `a device that is none is refused by name`(_ devices: [String], _ words: String) throws {
    let error = try #require(throws: LaunchError.self) { try resolve(devices, on: four) }
    #expect(error.code == .device && error.message == words)
    #expect(error.description == "launch.device: \(words)")
  }

  @Test func `one of several devices is named by its number`() throws {
    let kinds = [
      DeviceKind(
        "fake-gpu",
        numbered: { number in DeviceKind("fake-gpu:\(number)") { _ in FakeGPU() } }
      ) {
        _ in FakeGPU()
      }
    ]
    func resolve(_ devices: [String]) throws -> [WorkerPlan] {
      var settings = PipelineSettings()
      settings.devices = devices
      return try WorkerPlan.resolve(settings, among: .tested(adding: kinds), on: four)
    }
    let plans = try resolve(["fake-gpu:1", "fake-gpu", "fake-gpu:1"])
    #expect(plans.map(\.device.name) == ["fake-gpu:1", "fake-gpu", "fake-gpu:1"])
    #expect(plans.map(\.name) == ["fake-gpu1-0", "fake-gpu-0", "fake-gpu1-1"])
    for (name, words) in [
      ("fake-gpu:", "\"\" is no number"), ("fake-gpu:-1", "\"-1\" is no number"),
      ("fake-gpu:1:2", "\"1:2\" is no number"), ("cpu:0", "there is only one cpu"),
      ("gpu:0", "unknown device \"gpu:0\"; use cpu, reference, fake-gpu[:number]"),
    ] {
      let error = try #require(throws: LaunchError.self) { try resolve([name]) }
      #expect(error.code == .device && error.message.contains(words), "\(error)")
    }
  }

  @Test func `thread counts must be as many as devices`() throws {
    let error = try #require(throws: LaunchError.self) {
      try resolve(["cpu", "cpu"], threads: [1], on: four)
    }
    #expect(error.code == .settings)
    #expect(
      error.message
        == "--threads 1 does not fit 2 devices; give one number for each device"
    )
  }

  @Test func `this process has a CPU at least, and keeps no more busy than it has`() {
    let own = AvailableCPUs.own
    #expect(!own.allowed.isEmpty && (1...own.allowed.count).contains(own.usableCount))
  }
}
