// What the tests of model files share: expecting a refusal, opening a model that exists as bytes.

import Compute
import Gemma
import TestSupport
import Testing

/// Expects a refusal of some kind, in one line that names all of `words`.
func expectRefusal(
  _ code: GemmaError.Code,
  _ words: String...,
  sourceLocation: SourceLocation = #_sourceLocation,
  by body: () throws -> Void
) {
  do {
    try body()
    Issue.record("accepted; \(words) expected in a refusal", sourceLocation: sourceLocation)
  } catch let error as GemmaError {
    let text = error.description
    #expect(error.code == code, "\(text)", sourceLocation: sourceLocation)
    #expect(!text.contains("\n"), "more than a line: \(text)", sourceLocation: sourceLocation)
    for word in words {
      #expect(text.contains(word), "\(word) missing in: \(text)", sourceLocation: sourceLocation)
    }
  } catch {
    Issue.record("an error of another kind: \(error)", sourceLocation: sourceLocation)
  }
}

/// Opens bytes as a GGUF model.
func openModel(_ builder: GGUFBuilder) throws -> Checkpoint {
  try withTemporaryModel(builder.bytes) { try Checkpoint.open($0) }
}

/// Opens a model as a Hugging Face directory.
func openModel(_ model: TinyModel) throws -> Checkpoint {
  try withTemporaryDirectory { directory in
    try model.write(to: directory)
    return try Checkpoint.open(directory)
  }
}

/// Calls the body with the path of a file of these bytes.
func withTemporaryModel<Result>(
  _ bytes: [UInt8],
  _ body: (String) throws -> Result
) throws -> Result {
  try withTemporaryDirectory { directory in
    let path = "\(directory)/model.gguf"
    try bytes.write(to: path)
    return try body(path)
  }
}

/// Returns all bytes of a weight.
func contents(_ checkpoint: Checkpoint, _ name: WeightName) throws -> [UInt8] {
  try contents(checkpoint, checkpoint.weight(name))
}

/// Returns the bytes that a program would get for a reference.
func contents(_ checkpoint: Checkpoint, _ ref: WeightRef) throws -> [UInt8] {
  let bytes = try checkpoint.bytes(of: ref)
  return withExtendedLifetime(bytes) { unsafe [UInt8](bytes.bytes) }
}
