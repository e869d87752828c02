// Importance data in the making: sums of a text's windows, which a file keeps between runs.

package import Content
package import Gemma
package import ModelFiles

/// The sums of what a model's products were given, over the windows of a text.
package struct Calibration: Sendable {
  package let layout: ObservationLayout
  /// The tokens of a window.
  package let window: Int
  /// How many windows have been summed up.
  package private(set) var windowCount = 0
  private var sums: [Double]
  private let dataset: String
  private let notes: [String: String]

  /// Of which model and text a file's sums are.
  private static let modelNote = "trestle.calibration.model"
  private static let textNote = "trestle.calibration.text"

  /// Begins a calibration, or goes on with the one in a file.
  ///
  /// - Parameters:
  ///   - checkpoint: The model.
  ///   - fingerprint: The digest of its config and weights.
  ///   - dataset: What the text is called.
  ///   - text: The text's digest.
  ///   - window: The tokens of a window.
  ///   - path: The file; it need not exist.
  ///   - restarts: Whether to begin anew even if it exists.
  /// - Throws: `QuantizationError` if the file has sums of another model, text or window; what is wrong with it
  ///   if it cannot be read.
  package init(
    of checkpoint: Checkpoint,
    fingerprint: Digest,
    dataset: String,
    text: Digest,
    window: Int,
    continuing path: String,
    restarts: Bool
  ) throws {
    layout = ObservationLayout(checkpoint.config)
    self.window = window
    self.dataset = dataset
    notes = [Self.modelNote: "\(fingerprint)", Self.textNote: "\(text)"]
    sums = Array(repeating: 0, count: layout.count)
    guard ModelPath.exists(path) else { return }
    let file: ImportanceFile
    do { file = try ImportanceFile.read(path) } catch {
      throw QuantizationError(
        .importance,
        "it is no importance data, or it is damaged (\(error.message)); remove it, or give another --output",
        context: path
      )
    }
    // Only what a calibration has written may be replaced by one.
    guard !restarts else { return }
    guard !file.notes.isEmpty else {
      throw QuantizationError(
        .importance,
        "it does not say of which model and text its data is, as files of other programs and .dat files do not;"
          + " give --restart to replace it, or another --output",
        context: path
      )
    }
    for (note, what) in [(Self.modelNote, "model"), (Self.textNote, "text")]
    where file.notes[note] != notes[note] {
      throw QuantizationError(
        .importance,
        "it has importance data of another \(what); give --restart to replace it, or another --output",
        context: path
      )
    }
    guard file.chunkSize == window else {
      throw QuantizationError(
        .importance,
        "its windows have \(file.chunkSize) tokens, not \(window); give --context \(file.chunkSize) to go on,"
          + " or --restart to replace it",
        context: path
      )
    }
    try take(file, path)
  }

  private mutating func take(_ file: ImportanceFile, _ path: String) throws {
    for place in layout.places {
      let (name, slice) = place.name.gguf
      guard let entry = file.entries[name],
        entry.sums.count == place.sums.count * entry.counts.count, slice ?? 0 < entry.counts.count
      else {
        throw QuantizationError(
          .importance,
          "\(name) is missing or has another size; give --restart to replace it",
          context: path
        )
      }
      let first = (slice ?? 0) * place.sums.count
      for (index, sum) in zip(place.sums, entry.sums[first...]) { sums[index] = Double(sum) }
      sums[place.rowCount] = Double(entry.counts[slice ?? 0])
    }
    windowCount = file.chunkCount
  }

  /// How many matrices there are sums of.
  package var weightCount: Int { layout.places.count }

  /// Whether every product was given each of so many rows once, or once in each stage that has rows of its weight.
  package func counts(_ sums: [Double], rows: Int) -> Bool {
    layout.places.allSatisfy { place in
      guard let count = Int(exactly: sums[place.rowCount]) else { return false }
      return place.isDivided ? count > 0 && count.isMultiple(of: rows) : count == rows
    }
  }

  /// Adds the sums of one window.
  ///
  /// - Precondition: They are of this layout.
  package mutating func add(_ window: [Double]) {
    precondition(window.count == sums.count, "\(window.count) sums, \(sums.count) expected")
    for (index, sum) in window.enumerated() { sums[index] += sum }
    windowCount += 1
  }

  /// The data as a file has it.
  package var file: ImportanceFile {
    var file = ImportanceFile()
    for place in layout.places {
      // Matrices that are stacked in one tensor stand in the order of the layout.
      let name = place.name.gguf.name
      var entry = file.entries[name] ?? .init(sums: [], counts: [])
      entry.sums += sums[place.sums].map { Float($0) }
      entry.counts.append(Float(sums[place.rowCount]))
      file.entries[name] = entry
    }
    file.datasets = [dataset]
    file.chunkCount = windowCount
    file.chunkSize = window
    file.notes = notes
    return file
  }

  /// Writes the data.
  ///
  /// - Throws: `ModelFilesError.file` if the system fails; then what was there is there still.
  package func save(to path: String) throws { try file.write(to: path) }
}
