// Calibration in parts: a file from which it goes on as if it had never stopped, and files it must not go on from.

import Compute
import Content
import Foundation
import Gemma
import ModelFiles
import Quantization
import TestSupport
import Testing

@Suite struct `Calibration of a model` {
  private static let seed: UInt64 = 20_261_135
  private static let models = ["gemma3-random-a", "gemma3n-random-a", "gemma4-random-a"]

  private let model = Digest(of: Array("model".utf8))
  private let text = Digest(of: Array("text".utf8))

  private func checkpoint(_ name: String) throws -> Checkpoint {
    try Checkpoint.open(Goldens.checkpoint(name).path)
  }

  private func calibration(
    _ checkpoint: Checkpoint,
    at path: String,
    model: Digest? = nil,
    text: Digest? = nil,
    window: Int = 32,
    restarts: Bool = false
  ) throws -> Calibration {
    try Calibration(
      of: checkpoint,
      fingerprint: model ?? self.model,
      dataset: "book.txt",
      text: text ?? self.text,
      window: window,
      continuing: path,
      restarts: restarts
    )
  }

  /// The sums of a window with so many rows.
  private func window(
    _ layout: ObservationLayout,
    rows: Int,
    _ random: inout SeededRandom
  ) -> [Double] {
    var sums = (0..<layout.count).map { _ in Double.random(in: 0...100, using: &random) }
    for place in layout.places { sums[place.rowCount] = Double(rows) }
    return sums
  }

  // MARK: Sums

  @Test(.seeded(default: seed), arguments: models)
  func `going on from a file gives the sums of one run`(_ name: String) throws {
    let checkpoint = try checkpoint(name)
    var random = SeededRandom(testSeed(default: Self.seed))
    try withTemporaryDirectory { directory in
      var whole = try calibration(checkpoint, at: "\(directory)/whole.gguf")
      let windows = (0..<6).map { _ in window(whole.layout, rows: 32, &random) }
      for sums in windows { whole.add(sums) }
      for cut in [0, 1, 3, 6] {
        let path = "\(directory)/\(cut).gguf"
        var first = try calibration(checkpoint, at: path)
        for sums in windows[..<cut] { first.add(sums) }
        if cut > 0 { try first.save(to: path) }
        var second = try calibration(checkpoint, at: path)
        #expect(second.windowCount == cut)
        for sums in windows[cut...] { second.add(sums) }
        #expect(second.windowCount == 6)
        try expectEqual(second.file, whole.file, "cut behind \(cut)")
      }
    }
  }

  private func expectEqual(
    _ ours: ImportanceFile,
    _ theirs: ImportanceFile,
    _ comment: Comment
  ) throws {
    #expect(ours.entries.keys == theirs.entries.keys, comment)
    for (name, entry) in theirs.entries {
      let own = try #require(ours.entries[name])
      #expect(own.counts == entry.counts, "\(name), \(comment)")
      // A file holds f32: what it had is rounded once, and the sum once more.
      let isNear = zip(own.sums, entry.sums).allSatisfy { abs($0 - $1) <= $1 * 2 * .ulpOfOne }
      #expect(isNear && own.sums.count == entry.sums.count, "\(name), \(comment)")
    }
    #expect(ours.chunkCount == theirs.chunkCount && ours.chunkSize == theirs.chunkSize, comment)
    #expect(ours.notes == theirs.notes && ours.datasets == theirs.datasets, comment)
  }

  @Test(arguments: models) func `a file has an entry for each product, with its means`(
    _ name: String
  ) throws {
    let checkpoint = try checkpoint(name)
    var calibration = try calibration(checkpoint, at: "no/such/file")
    var sums = Array(repeating: 0.0, count: calibration.layout.count)
    for (number, place) in calibration.layout.places.enumerated() {
      for index in place.sums { sums[index] = Double(number + 1) * 8 }
      sums[place.rowCount] = 8
    }
    calibration.add(sums)
    calibration.add(sums)
    let file = calibration.file
    #expect(file.chunkCount == 2 && file.chunkSize == 32 && file.datasets == ["book.txt"])
    #expect(calibration.weightCount == calibration.layout.places.count)
    // A quantiser of the same model takes it, each matrix with its own part.
    let importance = try Importance(file, name: "i", for: checkpoint.ggufTensors)
    var found = 0
    for tensor in checkpoint.ggufTensors {
      for (matrix, weight) in tensor.weights.enumerated() {
        guard let number = calibration.layout.places.firstIndex(where: { $0.name == weight }) else {
          #expect(importance.columns(of: tensor) == nil, "\(weight)")
          continue
        }
        found += 1
        let wanted = Array(repeating: Float(number + 1), count: tensor.columnCount)
        #expect(importance.columns(of: tensor, matrix: matrix) == wanted, "\(weight)")
      }
    }
    #expect(found == calibration.weightCount)
  }

  // MARK: Rows

  @Test func `rows that were run twice in some stages are noticed`() throws {
    let checkpoint = try checkpoint("gemma3n-random-a")
    var random = SeededRandom(1)
    let calibration = try calibration(checkpoint, at: "no/such/file")
    let layout = calibration.layout
    let good = window(layout, rows: 32, &random)
    #expect(calibration.counts(good, rows: 32))
    for place in [
      layout.places[0], layout.places[layout.places.count / 2],
      layout.places[layout.places.count - 1],
    ] {
      for (count, isRight) in [
        (0.0, false), (16, false), (31, false), (33, false), (48, false), (64, true), (96, true),
      ] {
        var sums = good
        sums[place.rowCount] = count
        // Twice as many are those of a matrix whose rows are divided among two stages; those of a layer never are.
        #expect(
          calibration.counts(sums, rows: 32) == (isRight && place.isDivided),
          "\(place.name): \(count)"
        )
      }
    }
    #expect(!calibration.counts(Array(repeating: 0, count: layout.count), rows: 32))
  }

  // MARK: Refusals

  private func expectRefusal(
    _ path: String,
    _ words: String,
    sourceLocation: SourceLocation = #_sourceLocation,
    _ body: () throws -> Calibration
  ) {
    let error = #expect(throws: QuantizationError.self, sourceLocation: sourceLocation) {
      try body()
    }
    #expect(error?.code == .importance, sourceLocation: sourceLocation)
    #expect(
      error?.description == "quantization.importance: \(path): \(words)",
      "\(error?.description ?? "")",
      sourceLocation: sourceLocation
    )
  }

  @Test func `sums of another model, text or window are not gone on with`() throws {
    let checkpoint = try checkpoint("gemma3-random-a")
    var random = SeededRandom(2)
    try withTemporaryDirectory { directory in
      let path = "\(directory)/i.gguf"
      var first = try calibration(checkpoint, at: path)
      first.add(window(first.layout, rows: 32, &random))
      try first.save(to: path)
      let other = Digest(of: Array("other".utf8))
      let way = "give --restart to replace it, or another --output"
      expectRefusal(path, "it has importance data of another model; \(way)") {
        try calibration(checkpoint, at: path, model: other)
      }
      expectRefusal(path, "it has importance data of another text; \(way)") {
        try calibration(checkpoint, at: path, text: other)
      }
      expectRefusal(
        path,
        "its windows have 32 tokens, not 64; give --context 32 to go on, or --restart to replace it"
      ) { try calibration(checkpoint, at: path, window: 64) }
      // The same model is asked for with other tensors: the digest is the caller's word.
      let larger = try self.checkpoint("gemma3n-random-a")
      let error = #expect(throws: QuantizationError.self) { try calibration(larger, at: path) }
      #expect(
        error?.description.hasSuffix("is missing or has another size; give --restart to replace it")
          == true
      )
      // Whoever says so begins anew, and the file stays until the new one is saved.
      let anew = try calibration(checkpoint, at: path, model: other, window: 64, restarts: true)
      #expect(anew.windowCount == 0)
      #expect(try calibration(checkpoint, at: path).windowCount == 1)
    }
  }

  @Test func `a file of another program is not gone on with`() throws {
    let checkpoint = try checkpoint("gemma3-random-a")
    var random = SeededRandom(3)
    try withTemporaryDirectory { directory in
      let path = "\(directory)/i.gguf"
      var first = try calibration(checkpoint, at: path)
      first.add(window(first.layout, rows: 32, &random))
      var file = first.file
      file.notes = [:]
      try file.write(to: path)
      expectRefusal(
        path,
        "it does not say of which model and text its data is, as files of other programs and .dat files do not;"
          + " give --restart to replace it, or another --output"
      ) { try calibration(checkpoint, at: path) }
      for (text, reason) in [("no importance", "not a file of importance data"), ("", "empty")] {
        try Array(text.utf8).write(to: path)
        let error = #expect(throws: QuantizationError.self) {
          try calibration(checkpoint, at: path)
        }
        #expect(error?.message.contains(reason) == true, "\(error!)")
        #expect(error?.message.contains("remove it, or give another --output") == true)
      }
    }
  }

  @Test func `a file that lacks a tensor is not gone on with`() throws {
    let checkpoint = try checkpoint("gemma3n-random-a")
    var random = SeededRandom(4)
    try withTemporaryDirectory { directory in
      let path = "\(directory)/i.gguf"
      var first = try calibration(checkpoint, at: path)
      first.add(window(first.layout, rows: 32, &random))
      func refuse(_ name: String, _ change: (inout ImportanceFile) -> Void) throws {
        var file = first.file
        change(&file)
        try file.write(to: path)
        expectRefusal(path, "\(name) is missing or has another size; give --restart to replace it")
        {
          try calibration(checkpoint, at: path)
        }
      }
      try refuse("blk.3.ffn_up.weight") { $0.entries["blk.3.ffn_up.weight"] = nil }
      try refuse("blk.3.ffn_up.weight") { $0.entries["blk.3.ffn_up.weight"]?.sums += [1] }
      // One matrix of three.
      try refuse("altup_proj.weight") {
        $0.entries["altup_proj.weight"]?.sums.removeLast(64)
        $0.entries["altup_proj.weight"]?.counts.removeLast()
      }
    }
  }
}
