// Workers on a Vulkan device beside workers on CPU cores, as real processes. Without a GPU it is Mesa's
// emulation (package mesa-vulkan-drivers, which scripts/setup --tests installs).

import Foundation
import Glibc
import TestSupport
import Testing

private struct DoctorDocument: Decodable {
  struct Device: Decodable {
    var device: String
    var available: Bool
    var emulated: Bool
    var detail: String
  }

  var devices: [Device]
}

private let prompt = "KING RICHARD III:\nMy lord, "

extension Integration {
  @Suite struct `Vulkan workers` {
    /// Returns the name of the machine's first Vulkan device; nil if there is none, which is printed.
    private func device() async throws -> String? {
      let doctor: DoctorDocument = try await TrestleProcess.run(["doctor", "--json"]).document()
      let found = doctor.devices.first { $0.device.hasPrefix("vulkan:") && $0.available }
      if found == nil { print("skipped: no Vulkan device here: \(doctor.devices)") }
      return found?.device
    }

    private func options(_ devices: [String], split: String) -> [String] {
      [
        "--devices", devices.joined(separator: ","), "--split", split, "--threads",
        devices.map { _ in "1" }.joined(separator: ","),
      ]
    }

    @Test func `pipelines of both kinds give the reference implementation's tokens`() async throws {
      guard let gpu = try await device() else { return }
      let golden = try Goldens.load("demo-model")
      for (devices, split) in [
        ([gpu], "30"), (["cpu", gpu], "12,18"), ([gpu, "cpu"], "15,15"),
        (["cpu", gpu, "cpu"], "7,11,12"), ([gpu, gpu], "10,20"),
      ] {
        try await withCluster(options(devices, split: split)) { cluster in
          for item in golden.cases.prefix(3) {
            let want = item.certainGreedy().prefix { $0 != 1 && $0 != 6 }
            let got = try await cluster.run(
              item.text ?? "",
              item.runOptions(tokens: want.count + 1)
            )
            #expect(Array(got.tokens.prefix(want.count)) == Array(want), "\(devices), \(item)")
            #expect(got.placement.map(\.device) == devices)
          }
        }
      }
    }

    @Test func `layers move between unlike devices under a live stream`() async throws {
      guard let gpu = try await device() else { return }
      try await withCluster(options(["cpu", gpu], split: "15,15")) { cluster in
        let greedy = ["--raw", "--temperature", "0", "--max-tokens", "300"]
        let want = try await cluster.run(prompt, greedy)
        let stream = try cluster.start(prompt, greedy + ["--json"])
        let isRunning = try await eventually(within: .seconds(5)) {
          try await cluster.status().sessions == 1
        }
        try #require(isRunning)
        var moved = 0
        for split in ["10,20", "22,8", "1,29", "15,15"] {
          let document: RebalanceDocument = try await TrestleProcess.run(
            ["rebalance", "--json", "--endpoint", cluster.endpoint, "--split", split]
          ).document()
          moved += document.kvBytesMoved
        }
        // Keys and values have crossed the border both ways while the stream was live.
        #expect(moved > 0)
        let got: RunDocument = try await stream.wait().document()
        #expect(got.tokens == want.tokens)
      }
    }

    @Test func `a Vulkan worker that is killed is replaced, and no token changes`() async throws {
      guard let gpu = try await device() else { return }
      try await withCluster(options(["cpu", gpu], split: "15,15")) { cluster in
        let sampled = ["--raw", "--temperature", "0.8", "--seed", "2", "--max-tokens", "300"]
        let want = try await cluster.run(prompt, sampled)
        let before = try await cluster.workerPids()
        let stream = try cluster.start(prompt, sampled)
        try await stream.waitForOutput { $0.count > 60 }
        kill(pid_t(before[1]), SIGKILL)
        #expect(stream.isRunning, "the worker was to be lost before the end")
        #expect(try await stream.wait().output == want.text + "\n")
        try await cluster.waitUntilHealthy(atMost: .seconds(10))
      }
    }

    @Test func `status, health and doctor name the device, and say if it is emulated`() async throws
    {
      guard let gpu = try await device() else { return }
      try await withCluster(options(["cpu", gpu], split: "15,15")) { cluster in
        let health = try await TrestleProcess.run(["health", "--endpoint", cluster.endpoint])
        let status = try await TrestleProcess.run(["status", "--endpoint", cluster.endpoint])
        #expect(health.output.contains(gpu) && status.output.contains(gpu), "\(status)")
        let selfTest = try await TrestleProcess.run(
          ["health", "--self-test", "--endpoint", cluster.endpoint]
        )
        #expect(selfTest.status == 0, "\(selfTest)")
      }
    }

    /// On another version of the driver the numbers differ; then this says so and is to be written again.
    @Test func `AMD's compiler makes of the kernels what is committed`() throws {
      guard FileManager.default.fileExists(atPath: "/usr/share/vulkan/icd.d/radeon_icd.x86_64.json")
      else {
        print("skipped: RADV is not installed (apt-get install mesa-vulkan-drivers)")
        return
      }
      let (status, text) = try runScript(
        "shader-statistics",
        ["--check", "--trestle", TrestleProcess.program]
      )
      #expect(status == 0, "\(text)")
    }

    @Test func `devices that there are not are refused with those that there are`() async throws {
      let model = ["--model", Goldens.demoModel.path, "--temperature", "0", "hello"]
      for (name, words) in [
        ("vulkan:4711", "4711"), ("vulkan:one", "\"one\" is no number"), ("cpu:1", "only one cpu"),
      ] {
        let outcome = try await TrestleProcess.run(["run", "--devices", name] + model)
        #expect(outcome.status != 0 && outcome.errors.contains(words), "\(outcome)")
      }
    }
  }
}
