// Workers on an emulated NPU beside workers on CPU cores, as real processes; and the program as users get it, on a fake
// kernel that is loaded before it.

import Foundation
import Glibc
import TestSupport
import Testing

/// Long enough for the array: on an emulation it multiplies steps of 16 rows and more.
private let prompt = "KING RICHARD III:\nMy lord, I have been told of the queen, and of her love. "
private let greedy = ["--raw", "--temperature", "0", "--max-tokens", "24"]
private let sampled = ["--raw", "--temperature", "0.8", "--seed", "2", "--max-tokens", "300"]

extension Integration {
  @Suite struct `NPU workers` {
    private func options(_ devices: [String], split: String) -> [String] {
      [
        "--devices", devices.joined(separator: ","), "--split", split, "--emulate", "--threads",
        devices.map { _ in "1" }.joined(separator: ","),
      ]
    }

    /// What one worker with the device says.
    private func alone() async throws -> RunDocument {
      var document: RunDocument?
      try await withCluster(options(["npu"], split: "30")) { cluster in
        document = try await cluster.run(prompt, sampled)
      }
      return try #require(document)
    }

    @Test func `a pipeline of two gives the tokens of one, wherever layers move`() async throws {
      let want = try await alone()
      try await withCluster(options(["npu", "npu"], split: "15,15")) { cluster in
        #expect(try await cluster.run(prompt, sampled).tokens == want.tokens)
        let stream = try cluster.start(prompt, sampled + ["--json"])
        let isRunning = try await eventually(within: .seconds(5)) {
          try await cluster.status().sessions == 1
        }
        try #require(isRunning)
        for split in ["10,20", "20,10"] {
          let _: RebalanceDocument = try await TrestleProcess.run(
            ["rebalance", "--json", "--endpoint", cluster.endpoint, "--split", split]
          ).document()
        }
        let got: RunDocument = try await stream.wait().document()
        #expect(got.tokens == want.tokens)
      }
    }

    @Test func `beside CPUs it takes part, says that it is emulated, and may be killed`()
      async throws
    {
      try await withCluster(options(["cpu", "npu", "cpu"], split: "8,14,8")) { cluster in
        let want = try await cluster.run(prompt, sampled)
        #expect(want.tokens.count > 8)
        #expect(want.placement.map(\.device) == ["cpu", "npu", "cpu"])
        let workers = try await cluster.status().workers
        #expect(workers.map(\.emulated) == [false, true, false])
        let health = try await TrestleProcess.run(["health", "--endpoint", cluster.endpoint])
        #expect(health.output.contains("npu") && health.output.contains("emulated"), "\(health)")
        let before = try await cluster.workerPids()
        let stream = try cluster.start(prompt, sampled + ["--json"])
        let isRunning = try await eventually(within: .seconds(5)) {
          try await cluster.status().sessions == 1
        }
        try #require(isRunning)
        kill(pid_t(before[1]), SIGKILL)
        // Whoever has lost an emulation still knows that it was one.
        #expect(try await cluster.status().workers[1].emulated)
        let got: RunDocument = try await stream.wait(atMost: .seconds(60)).document()
        #expect(got.tokens == want.tokens)
        try await cluster.waitUntilHealthy(atMost: .seconds(20))
      }
    }

    @Test func `without a device it is refused, with what to do`() async throws {
      guard !FileManager.default.fileExists(atPath: "/sys/class/accel/accel0") else {
        print("skipped: this machine has a device at /dev/accel")
        return
      }
      for command in ["run", "bench"] {
        let outcome = try await TrestleProcess.run(
          [command, "--model", Goldens.demoModel.path, "--devices", "npu"]
            + (command == "run" ? ["hello"] : [])
        )
        #expect(outcome.status != 0, "\(outcome)")
        #expect(
          outcome.errors.contains("no NPU") && outcome.errors.contains("--emulate"),
          "\(outcome)"
        )
      }
      // Planning tries the first device alone, which cannot be emulated.
      let planned = try await TrestleProcess.run(
        ["plan", "--model", Goldens.demoModel.path, "--devices", "cpu,npu", "--emulate"]
      )
      #expect(planned.status == 0 && planned.output.contains("projected"), "\(planned)")
      let wrong = try await TrestleProcess.run(
        ["run", "--model", Goldens.demoModel.path, "--devices", "cpu", "--emulate", "hello"]
      )
      #expect(wrong.status != 0 && wrong.errors.contains("it goes with npu"), "\(wrong)")
    }
  }

  @Suite struct `The program on a fake kernel` {
    /// Beside the program that is tested.
    private static let fake = URL(filePath: TrestleProcess.program).deletingLastPathComponent()
      .appending(path: "npu-fake").path

    private func run(
      _ fault: String?,
      _ arguments: [String]
    ) throws -> (status: Int32, output: String) {
      let process = Process()
      process.executableURL = URL(filePath: Self.fake)
      process.arguments =
        (fault.map { ["--fault", $0] } ?? []) + ["--", TrestleProcess.program] + arguments
      let pipe = Pipe()
      process.standardOutput = pipe
      process.standardError = pipe
      try process.run()
      let output = try pipe.fileHandleForReading.readToEnd() ?? Data()
      process.waitUntilExit()
      return (process.terminationStatus, String(decoding: output, as: UTF8.self))
    }

    private func model(_ devices: String) -> [String] {
      [
        "run", "--model", Goldens.demoModel.path, "--devices", devices, "--threads",
        devices.contains(",") ? "1,1" : "1",
      ] + (devices.contains(",") ? ["--split", "15,15"] : ["--split", "30"]) + greedy + [prompt]
    }

    @Test func `doctor finds it, and the self-test passes whole`() throws {
      let doctor = try run(nil, ["doctor"])
      #expect(
        doctor.status == 0 && doctor.output.contains("yes  npu (emulated): /dev/accel/accel0")
      )
      try withTemporaryDirectory { directory in
        let path = "\(directory)/report.json"
        let test = try run(nil, ["doctor", "--npu-selftest", "--report", path])
        #expect(
          test.status == 0 && test.output.contains("all steps hold on an emulation"),
          "\(test)"
        )
        let report = try String(contentsOfFile: path, encoding: .utf8)
        #expect(report.contains("\"emulated\":true") && !report.contains(NSUserName() + "@"))
        // What a report is written into is not replaced.
        let link = "\(directory)/link.json"
        try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: path)
        let refused = try run("open-enoent", ["doctor", "--npu-selftest", "--report", link])
        #expect(refused.status == 1 && refused.output.contains("there is no NPU"), "\(refused)")
        #expect(try FileManager.default.destinationOfSymbolicLink(atPath: link) == path)
        let broken = try run("error@2", ["doctor", "--npu-selftest", "--report", path])
        #expect(broken.status == 1 && broken.output.contains("failed  copy"), "\(broken)")
      }
    }

    /// The worker is given up after five losses, and nobody has to read the log to learn of it.
    @Test func `a device that stays away is told of until it is drained`() async throws {
      try await withTemporaryDirectory { directory in
        let endpoint = ["--endpoint", "ipc://\(directory)/front"]
        let up = try TrestleProcess(
          ["up", "--model", Goldens.demoModel.path, "--devices", "npu,cpu", "--split", "15,15"]
            + ["--threads", "1,1"] + endpoint,
          launcher: [Self.fake, "--fault", "removed@9", "--"]
        )
        try await up.waitForOutput { $0 == "ready\n" }
        let answer = try await TrestleProcess.run(["run"] + endpoint + greedy + [prompt])
        #expect(answer.status == 0, "\(answer)")
        let status = try await TrestleProcess.run(["status", "--json"] + endpoint)
        let document: StatusDocument = try status.document()
        #expect(document.workers.map(\.device) == ["cpu"], "\(status)")
        let lost = try #require(document.replacedWorkers.first)
        #expect(
          lost.device == "npu" && lost.reason.contains("No such device"),
          "\(status)"
        )
        let shown = try await TrestleProcess.run(["status"] + endpoint)
        #expect(shown.output.contains("\(lost.name) (npu, emulated) was lost"), "\(shown)")
        let health = try await TrestleProcess.run(["health"] + endpoint)
        #expect(health.status == 1 && health.output.contains("replaced"), "\(health)")
        let drained = try await TrestleProcess.run(["drain", lost.name] + endpoint)
        #expect(drained.status == 0, "\(drained)")
        let well = try await TrestleProcess.run(["health"] + endpoint)
        #expect(well.status == 0 && !well.output.contains("replaced"), "\(well)")
        up.signal(SIGTERM)
        #expect(try await up.wait().status == 0)
      }
    }

    /// A failed command is done again; a lost device is opened anew by its next worker; and where it stays away, its
    /// layers go to the CPU, whose numbers differ in their last digits.
    @Test func `no fault loses a request`() throws {
      let want = try run(nil, model("npu,cpu"))
      #expect(want.status == 0, "\(want)")
      let text = try #require(want.output.split(separator: "\n").last)
      for (fault, words) in [
        ("abort@9", "configured anew"), ("flip@9", "is wrong"),
        ("removed@9", "placed on the workers"),
      ] {
        let got = try run(fault, model("npu,cpu"))
        #expect(got.status == 0 && got.output.contains(words), "\(fault): \(got)")
        if fault != "removed@9" { #expect(got.output.hasSuffix(text + "\n"), "\(fault): \(got)") }
      }
    }
  }
}
