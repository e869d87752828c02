// calibrate, quantize and compare as a user runs them: what they agree on, what they refuse, and
// what is left behind when they are interrupted, killed or out of space.

import Foundation
import Glibc
import TestSupport
import Testing

extension Integration {
  @Suite struct `Calibrating, quantizing and comparing` {
    private static let model = Goldens.demoModel.path
    private static let oneWorker = ["--devices", "cpu", "--threads", "1"]

    /// Writes the beginning of a play to a file; returns its path.
    private func play(_ directory: String, bytes: Int = 4000, from first: Int = 0) throws -> String
    {
      let source = Goldens.demoModel.appending(path: "training/shakespeare.txt")
      let text = try Data(contentsOf: source)[first..<(first + bytes)]
      let path = "\(directory)/text-\(first)"
      try text.write(to: URL(filePath: path))
      return path
    }

    /// What is in a directory apart from the texts.
    private func files(_ directory: String) throws -> [String] {
      try FileManager.default.contentsOfDirectory(atPath: directory).filter {
        !$0.hasPrefix("text")
      }
      .sorted()
    }

    private func byteCount(_ path: String) throws -> Int {
      let attributes = try FileManager.default.attributesOfItem(atPath: path)
      return try #require(attributes[.size] as? Int)
    }

    private func expectSuccess(
      _ arguments: [String],
      sourceLocation: SourceLocation = #_sourceLocation
    ) async throws -> Outcome {
      let outcome = try await TrestleProcess.run(arguments)
      try #require(outcome.status == 0, "\(outcome)", sourceLocation: sourceLocation)
      return outcome
    }

    /// Expects one line about the failure, and that nothing else is printed.
    private func expectRefusal(
      _ arguments: [String],
      _ words: [String],
      status: Int = 1,
      sourceLocation: SourceLocation = #_sourceLocation
    ) async throws {
      let outcome = try await TrestleProcess.run(arguments)
      #expect(
        outcome.status == status && outcome.output.isEmpty,
        "\(outcome)",
        sourceLocation: sourceLocation
      )
      for word in words {
        #expect(
          outcome.errors.contains(word),
          "\(word): \(outcome)",
          sourceLocation: sourceLocation
        )
      }
      guard status == 1 else { return }
      #expect(
        outcome.errors.split(separator: "\n").count == 1,
        "\(outcome)",
        sourceLocation: sourceLocation
      )
    }

    /// Expects that two files have the same mean squares, but for the rounding of sums to f32.
    private func expectSame(
      _ one: String,
      _ other: String,
      sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
      let (got, want) = (try ImportanceMeans(one).means, try ImportanceMeans(other).means)
      #expect(got.count > 200 && Set(got.keys) == Set(want.keys), sourceLocation: sourceLocation)
      for (name, means) in want {
        let isSame = got[name].map { values in
          values.count == means.count && zip(values, means).allSatisfy { abs($0 - $1) <= 1e-5 * $1 }
        }
        #expect(isSame == true, "\(name)", sourceLocation: sourceLocation)
        #expect(means.contains { $0 > 0 }, "\(name)", sourceLocation: sourceLocation)
      }
    }

    // MARK: calibrate

    @Test func `importance is the same over one worker and three, and whether in one run or two`()
      async throws
    {
      try await withTemporaryDirectory { directory in
        let text = try play(directory)
        func calibrate(_ name: String, windows: Int, _ options: [String]) async throws -> Outcome {
          try await expectSuccess(
            [
              "calibrate", Self.model, "--text", text, "--output", "\(directory)/\(name)",
              "--context", "64",
            ]
              + ["--windows", "\(windows)"] + options
          )
        }
        let whole = try await calibrate("one", windows: 4, Self.oneWorker + ["--json"])
        struct Document: Decodable, Equatable {
          var output: String
          var weights: Int
          var windows: Int
          var context: Int
        }
        let document: Document = try whole.document()
        #expect(document.windows == 4 && document.context == 64 && document.weights > 200)
        #expect(document.output == "\(directory)/one")

        _ = try await calibrate("three", windows: 4, Cluster.threeWorkers)
        try expectSame("\(directory)/three", "\(directory)/one")

        _ = try await calibrate("two", windows: 2, Self.oneWorker)
        let first = try ImportanceMeans("\(directory)/two")
        #expect(first.windows == 2)
        let second = try await calibrate("two", windows: 4, Self.oneWorker)
        #expect(second.errors.contains("going on after 2 windows"), "\(second)")
        #expect(try ImportanceMeans("\(directory)/two").windows == 4)
        try expectSame("\(directory)/two", "\(directory)/one")
        // What is there already is not done again.
        let third = try await calibrate("two", windows: 4, Self.oneWorker)
        #expect(
          third.errors.contains("4 windows already") && third.output.contains("4 windows"),
          "\(third)"
        )
      }
    }

    @Test
    func `data of another text or window is not mixed with what there is, but replaced if asked`()
      async throws
    {
      try await withTemporaryDirectory { directory in
        let (text, other) = (try play(directory), try play(directory, from: 4000))
        let file = "\(directory)/importance.gguf"
        let options = ["--output", file, "--windows", "1"] + Self.oneWorker
        let calibrate = ["calibrate", Self.model, "--text"]
        _ = try await expectSuccess(calibrate + [text, "--context", "64"] + options)
        let before = try Data(contentsOf: URL(filePath: file))
        try await expectRefusal(
          calibrate + [other, "--context", "64"] + options,
          ["error: \(file): it has importance data of another text", "--restart"]
        )
        try await expectRefusal(
          calibrate + [text, "--context", "32"] + options,
          [file, "its windows have 64 tokens, not 32", "--restart"]
        )
        #expect(try Data(contentsOf: URL(filePath: file)) == before)
        _ = try await expectSuccess(calibrate + [other, "--context", "64", "--restart"] + options)
        #expect(try Data(contentsOf: URL(filePath: file)) != before)
        // A file of another kind is never replaced by mistake.
        try await expectRefusal(
          calibrate + [text, "--output", other, "--context", "64"] + Self.oneWorker,
          ["not a file of importance data"]
        )
      }
    }

    @Test func `an interrupted calibration keeps what it has, says so, and goes on`() async throws {
      try await withTemporaryDirectory { directory in
        let file = "\(directory)/importance.gguf"
        let arguments =
          ["calibrate", Self.model, "--output", file, "--context", "64"] + Self.oneWorker
        var saved = 0
        // Longer each time, in case that a crowded machine has not finished the first window.
        for pause in [1.0, 4, 16] where saved == 0 {
          let command = try TrestleProcess(arguments)
          let pipeline = try await PrivatePipeline(of: command, workerCount: 1)
          try await Task.sleep(for: .seconds(pause))
          #expect(command.isRunning, "it was to be interrupted before its end")
          command.signal(SIGINT)
          let outcome = try await command.wait(atMost: .seconds(5))
          #expect(outcome.status == 1 && outcome.output.isEmpty, "\(outcome)")
          #expect(outcome.errors.hasSuffix("error: interrupted\n"), "\(outcome)")
          pipeline.expectGone()
          guard
            let words = outcome.errors.firstMatch(
              of: #/has (\d+) of \d+ windows; the same command goes on/#
            )
          else { continue }
          saved = try #require(Int(words.1))
          #expect(outcome.errors.contains(file))
        }
        try #require(saved > 0)
        #expect(try files(directory) == ["importance.gguf"])
        #expect(try ImportanceMeans(file).windows == saved)
        let rest = try await expectSuccess(arguments + ["--windows", "\(saved + 1)"])
        #expect(rest.errors.contains("going on after \(saved) windows"), "\(rest)")
        #expect(try ImportanceMeans(file).windows == saved + 1)
      }
    }

    @Test func `a worker that is killed in the middle changes nothing of the importance`()
      async throws
    {
      try await withTemporaryDirectory { directory in
        // Windows of several micro-batches, some of which are lost with the worker.
        let arguments =
          ["calibrate", Self.model, "--context", "300", "--windows", "12", "--output"]
        _ = try await expectSuccess(arguments + ["\(directory)/undisturbed"] + Cluster.threeWorkers)
        let command = try TrestleProcess(
          arguments + ["\(directory)/disturbed"] + Cluster.threeWorkers
        )
        let pipeline = try await PrivatePipeline(of: command, workerCount: 3)
        // A worker that is lost before the pipeline is ready ends it. With a session it is.
        let status = ["status", "--json", "--endpoint", "ipc://\(pipeline.directory)/front"]
        let observes = try await eventually(within: .seconds(20)) {
          try await TrestleProcess.run(status).output.contains("\"sessions\":1")
        }
        #expect(observes && command.isRunning, "a worker was to be lost before the end")
        kill(pid_t(pipeline.workers[1]), SIGKILL)
        let outcome = try await command.wait()
        #expect(outcome.status == 0, "\(outcome)")
        #expect(!ProcessTable.isRunning(pipeline.workers[1]))
        try expectSame("\(directory)/disturbed", "\(directory)/undisturbed")
      }
    }

    // MARK: quantize and compare

    private struct Comparison: Decodable {
      var klMean: Double
      var klP99: Double
      var klMax: Double
      var top1Agreement: Double
      var perplexityA: Double
      var perplexityB: Double
      var bytesA: Int
      var bytesB: Int
      var tokens: Int
    }

    private static let promisedKeys: Set<String> = [
      "kl_mean", "kl_p99", "kl_max", "top1_agreement", "perplexity_a", "perplexity_b", "bytes_a",
      "bytes_b",
      "tokens",
    ]

    @Test func `a quantised model speaks, is smaller, and is near its source`() async throws {
      try await withTemporaryDirectory { directory in
        let (text, file) = (try play(directory), "\(directory)/q8.gguf")
        let written = try await expectSuccess([
          "quantize", Self.model, file, "--type", "q8_0", "--threads", "1",
        ])
        #expect(written.errors.isEmpty && written.output.contains("q8_0: "), "\(written)")
        #expect(try files(directory) == ["q8.gguf", "q8.quantization.json", "q8.quantization.txt"])
        #expect(
          try String(contentsOfFile: "\(directory)/q8.quantization.txt", encoding: .utf8).contains(
            "--type q8_0"
          )
        )

        let said = try await expectSuccess(
          ["run", "--model", file, "--raw", "--temperature", "0", "--max-tokens", "12"]
            + Self.oneWorker
            + ["--", "KING RICHARD III:"]
        )
        #expect(said.output.count > 5, "\(said)")
        _ = try await expectSuccess(["inspect", file])

        let options =
          ["--text", text, "--context", "64", "--windows", "4", "--json"] + Self.oneWorker
        let compared = try await expectSuccess(["compare", Self.model, file] + options)
        let object = try JSONSerialization.jsonObject(with: Data(compared.output.utf8))
        let keys = Set(try #require(object as? [String: Any]).keys)
        #expect(keys.isSuperset(of: Self.promisedKeys), "\(compared)")
        let document: Comparison = try compared.document()
        // int8 blocks cost 0.0003 nats here; 4 bits would cost more than ten times that.
        #expect(document.klMean > 0 && document.klMean < 0.003)
        #expect(document.klP99 >= document.klMean && document.klMax >= document.klP99)
        #expect(document.top1Agreement > 0.9 && document.top1Agreement <= 1)
        #expect(document.bytesB * 3 < document.bytesA * 2 && document.tokens == 4 * 64)
        #expect(abs(document.perplexityA / document.perplexityB - 1) < 0.02)

        let itself = try await expectSuccess(["compare", Self.model, Self.model] + options)
        let same: Comparison = try itself.document()
        #expect(same.klMean == 0 && same.klP99 == 0 && same.klMax == 0 && same.top1Agreement == 1)
        #expect(same.perplexityA == same.perplexityB && same.bytesA == same.bytesB)

        try await expectRefusal(
          ["quantize", file, "\(directory)/q4.gguf", "--type", "q4_0"],
          ["error: \(file): ", "is quantised already", "--allow-requantize"]
        )
        #expect(try files(directory) == ["q8.gguf", "q8.quantization.json", "q8.quantization.txt"])
        let twice = [
          "quantize", file, "\(directory)/q4.gguf", "--type", "q4_0", "--allow-requantize",
        ]
        _ = try await expectSuccess(twice)
        #expect(try byteCount("\(directory)/q4.gguf") < byteCount(file))
        // Nor is the source ever replaced by what is made of it, whatever it is called.
        let before = try Data(contentsOf: URL(filePath: file))
        try FileManager.default.createSymbolicLink(
          atPath: "\(directory)/link.gguf",
          withDestinationPath: file
        )
        for name in [file, "\(directory)/link.gguf", "\(directory)/./q8.gguf"] {
          try await expectRefusal(
            ["quantize", file, name, "--type", "q4_0", "--allow-requantize"],
            ["\(name) would replace a file that is read"]
          )
        }
        #expect(try Data(contentsOf: URL(filePath: file)) == before)
      }
    }

    @Test func `senseless requests to quantize are refused before anything is written`()
      async throws
    {
      try await withTemporaryDirectory { directory in
        let (out, text) = ("\(directory)/out.gguf", try play(directory))
        try await expectRefusal(
          ["quantize", Self.model, "\(directory)/out", "--type", "q4_0"],
          ["\(directory)/out: give a file name that ends in .gguf"],
          status: 64
        )
        try await expectRefusal(
          ["quantize", Self.model, out, "--type", "q4_0", "--bits-per-weight", "4.5"],
          ["--type q4_0", "--bits-per-weight"],
          status: 64
        )
        try await expectRefusal(
          ["quantize", Self.model, out, "--type", "q9_0"],
          ["q9_0", "q4_K"],
          status: 64
        )
        try await expectRefusal(
          ["quantize", "\(directory)/none", out, "--type", "q4_0"],
          ["\(directory)/none"]
        )
        try await expectRefusal(
          ["quantize", Self.model, "\(directory)/none/out.gguf", "--type", "q4_0"],
          ["\(directory)/none/out.gguf", "No such file or directory"]
        )
        // Importance data of a model with other sizes, and a model instead of importance data.
        let other = Goldens.checkpoint("gemma3-random-a").path
        let importance = "\(directory)/text-importance"
        _ = try await expectSuccess(
          [
            "calibrate", Self.model, "--text", text, "--output", importance, "--context", "64",
            "--windows", "1",
          ]
            + Self.oneWorker
        )
        try await expectRefusal(
          ["quantize", other, out, "--type", "q4_0", "--importance", importance],
          ["error: \(importance): ", "give data of this model"]
        )
        try await expectRefusal(
          ["quantize", Self.model, out, "--type", "q4_0", "--importance", text],
          ["not a file of importance data", text]
        )
        try await expectRefusal(
          ["compare", Self.model, other, "--text", text],
          ["a vocabulary of 1024 tokens", "one of 256"]
        )
        #expect(try files(directory).isEmpty)
        _ = try await expectSuccess([
          "quantize", Self.model, out, "--type", "q4_0", "--importance", importance,
        ])
      }
    }

    @Test func `no file that a command reads is replaced by one that it writes`() async throws {
      try await withTemporaryDirectory { directory in
        let (copy, text) = ("\(directory)/copy", "\(directory)/text.txt")
        let files = FileManager.default
        try files.createDirectory(atPath: copy, withIntermediateDirectories: false)
        for name in try files.contentsOfDirectory(atPath: Self.model) where name.contains(".") {
          try files.copyItem(atPath: "\(Self.model)/\(name)", toPath: "\(copy)/\(name)")
        }
        try files.copyItem(atPath: try play(directory), toPath: text)
        let calibrate = ["--windows", "1", "--context", "64", "--restart"] + Self.oneWorker
        let requests = [
          // The report is to go into the model, over the text, over OUT itself.
          ["quantize", copy, "\(directory)/o.gguf", "--type", "q8_0"]
            + ["--report", "\(copy)/config.json"],
          ["quantize", copy, "\(directory)/o.gguf", "--text", text, "--report", text],
          ["quantize", copy, "\(directory)/out.gguf", "--type", "q8_0"]
            + ["--report", "\(directory)/out.gguf"],
          ["calibrate", copy, "--output", "\(copy)/model.safetensors"] + calibrate,
          ["calibrate", copy, "--text", text, "--output", text] + calibrate,
        ]
        for arguments in requests {
          let outcome = try await TrestleProcess.run(arguments, atMost: .seconds(40))
          #expect(outcome.status == 1 || outcome.status == 64, "\(outcome)")
        }
        for name in ["config.json", "model.safetensors"] {
          #expect(
            files.contentsEqual(atPath: "\(copy)/\(name)", andPath: "\(Self.model)/\(name)"),
            "\(name)"
          )
        }
        #expect(files.contentsEqual(atPath: text, andPath: "\(directory)/text-0"))
        #expect(!files.fileExists(atPath: "\(directory)/out.gguf"))
      }
    }

    @Test func `a weight that is no number is refused by name, and no file is left`() async throws {
      try await withTemporaryDirectory { directory in
        let model = "\(directory)/model"
        try ChangedModel.write(
          Goldens.demoModel,
          to: model,
          tensor: "model.layers.24.mlp.down_proj.weight"
        ) { $0[77] = .nanOfBFloat16 }
        try await expectRefusal(
          ["quantize", model, "\(directory)/out.gguf", "--type", "q4_0"],
          ["error: ", "blk.24.ffn_down.weight", "row 0, column 77"]
        )
        #expect(try files(directory) == ["model"])
      }
    }

    @Test func `a full disk is told in one line, and nothing is left`() async throws {
      try await withTemporaryDirectory { directory in
        let out = "\(directory)/out.gguf"
        // A file may have a megabyte at most.
        let outcome = try await TrestleProcess.run(
          ["quantize", Self.model, out, "--type", "q8_0"],
          shell: #"ulimit -f 2000; exec "$0" "$@""#
        )
        #expect(outcome.status == 1 && outcome.output.isEmpty, "\(outcome)")
        let lines = outcome.errors.split(separator: "\n")
        #expect(lines.count == 1 && lines[0].contains("File too large (\(out))"), "\(outcome)")
        #expect(try files(directory).isEmpty)
      }
    }

    @Test func `killed in the middle, quantize leaves what was there`() async throws {
      try await withTemporaryDirectory { directory in
        let out = "\(directory)/out.gguf"
        let arguments = ["quantize", Self.model, out, "--type", "iq4_nl", "--threads", "1"]
        let before = Data("what was there".utf8)
        var killedCount = 0
        for delay in [30, 60, 100, 150, 220, 300] {
          try before.write(to: URL(filePath: out))
          let command = try TrestleProcess(arguments)
          try await Task.sleep(for: .milliseconds(delay))
          command.signal(SIGKILL)
          let outcome = try await command.wait(atMost: .seconds(5))
          guard outcome.signal == Int(SIGKILL) else { continue }
          killedCount += 1
          // The old file or the whole new one, whose report may be missing, and nothing beside them.
          let now = try Data(contentsOf: URL(filePath: out))
          if now != before { _ = try await expectSuccess(["inspect", out]) }
          let left = Set(try files(directory)).subtracting(["out.gguf"])
          #expect(left.allSatisfy { $0.hasPrefix("out.quantization.") }, "\(left)")
        }
        #expect(killedCount > 0)
        _ = try await expectSuccess(arguments)
        _ = try await expectSuccess(["inspect", out])
      }
    }

    @Test(arguments: [
      (
        "calibrate",
        ["--text", "--output", "--windows", "--restart", "--json", "--context", "--devices"]
      ),
      (
        "quantize",
        [
          "--type", "--recipe", "--bits-per-weight", "--size", "--for", "--importance", "--text",
          "--probe-tokens",
          "--allow-requantize", "--report", "--threads", "--json",
        ]
      ),
      ("compare", ["--text", "--windows", "--worst", "--json", "--context", "--devices"]),
    ])
    func `help tells of every option and gives an example`(
      _ command: String,
      _ options: [String]
    ) async throws {
      let help = try await TrestleProcess.run([command, "--help"])
      #expect(help.status == 0 && help.errors.isEmpty, "\(help)")
      for option in options {
        #expect(
          help.output.contains("  \(option)") || help.output.contains(", \(option)"),
          "\(option): \(help)"
        )
      }
      #expect(help.output.contains(#/EXAMPLE:\s+trestle /#), "\(help)")
    }
  }
}

/// The mean squares of a file of importance data in GGUF.
///
/// Read here by the specification (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md), and
/// by what llama.cpp's tools/imatrix/imatrix.cpp calls its tensors.
private struct ImportanceMeans {
  /// By tensor, [matrices, columns].
  var means: [String: [Float]] = [:]
  var windows = 0

  init(_ path: String) throws {
    var reader = Reader(bytes: [UInt8](try Data(contentsOf: URL(filePath: path))))
    guard reader.bytes.starts(with: Array("GGUF".utf8)) else {
      throw ProcessError(description: "\(path): no GGUF")
    }
    reader.place = 8
    let (tensorCount, keyCount) = (Int(reader.number(8)), Int(reader.number(8)))
    for _ in 0..<keyCount {
      let key = reader.text()
      let value = reader.value(type: reader.number(4))
      if key == "imatrix.chunk_count" { windows = Int(value) }
    }
    var places: [String: (count: Int, offset: Int)] = [:]
    for _ in 0..<tensorCount {
      let name = reader.text()
      let count = (0..<Int(reader.number(4))).reduce(1) { size, _ in size * Int(reader.number(8)) }
      guard reader.number(4) == 0 else {
        throw ProcessError(description: "\(path): \(name) is not f32")
      }
      places[name] = (count, Int(reader.number(8)))
    }
    let data = (reader.place + 31) / 32 * 32
    func floats(_ place: (count: Int, offset: Int)) -> [Float] {
      reader.place = data + place.offset
      return (0..<place.count).map { _ in Float(bitPattern: UInt32(reader.number(4))) }
    }
    for (name, place) in places where name.hasSuffix(".in_sum2") {
      let stem = name.dropLast(".in_sum2".count)
      let sums = floats(place)
      guard let counts = places["\(stem).counts"].map(floats), counts.allSatisfy({ $0 > 0 }) else {
        throw ProcessError(description: "\(path): no counts of \(stem)")
      }
      let columns = sums.count / counts.count
      means[String(stem)] = sums.indices.map { sums[$0] / counts[$0 / columns] }
    }
  }

  private struct Reader {
    var bytes: [UInt8]
    var place = 0

    mutating func number(_ count: Int) -> UInt64 {
      defer { place += count }
      return bytes[place..<(place + count)].reversed().reduce(0) { $0 << 8 | UInt64($1) }
    }

    mutating func text() -> String {
      let count = Int(number(8))
      defer { place += count }
      return String(decoding: bytes[place..<(place + count)], as: UTF8.self)
    }

    /// Reads a metadata value; returns it if it is a number.
    mutating func value(type: UInt64) -> UInt64 {
      switch type {
      case 0, 1, 7: return number(1)
      case 2, 3: return number(2)
      case 4, 5, 6: return number(4)
      case 10, 11, 12: return number(8)
      case 8: _ = text()
      default:
        let (element, count) = (number(4), Int(number(8)))
        for _ in 0..<count { _ = value(type: element) }
      }
      return 0
    }
  }
}
