// What the tests of the tokenizer share: golden files, small vocabularies, a slow tokenizer that is
// obviously right.

import Foundation
import Gemma
import ModelFiles
import TestSupport

/// A file of Tests/Goldens/tokenizer; PROVENANCE.md there says how it was made.
struct TokenizerGolden: Decodable {
  struct Case: Decodable {
    var text: String
    var ids: [Int32]
    /// The tokens if special ones are parsed; absent if they are the same.
    var special: [Int32]?
    /// The reference's text of `ids`.
    var decoded: String?
  }

  var reference: String
  var cases: [Case]

  static let directory = Goldens.directory.appending(path: "tokenizer")

  static func load(_ name: String) throws -> TokenizerGolden {
    let data = try Data(contentsOf: directory.appending(path: "\(name).json"))
    return try JSONDecoder().decode(TokenizerGolden.self, from: data)
  }
}

/// The demo model's tokenizer: byte pair encoding with 1,024 tokens.
func demoTokenizer() throws -> Tokenizer {
  try Tokenizer.load(for: Goldens.demoModel.path)
}

/// Returns a text of characters from all over Unicode, some of them special to tokenizers.
func randomText(_ random: inout SeededRandom, upTo count: Int = 60) -> String {
  var scalars = String.UnicodeScalarView()
  for _ in 0..<Int.random(in: 0...count, using: &random) {
    let range: ClosedRange<UInt32> =
      switch Int.random(in: 0..<8, using: &random) {
      case 0, 1, 2: 0x20...0x7E
      case 3: 0x00...0x1F
      case 4: 0x80...0x7FF
      case 5: 0x800...0xFFFF
      case 6: 0x1F300...0x1FAFF
      default: 0x0...0x10FFFF
      }
    if let scalar = Unicode.Scalar(UInt32.random(in: range, using: &random)) {
      scalars.append(scalar)
    }
    let extras = [" ", "  ", "\n", "\n\n", "the ", "</b>", "<end_of_turn>", "<bos>", "e\u{301}"]
    if Int.random(in: 0..<6, using: &random) == 0, let extra = extras.randomElement(using: &random)
    {
      scalars.append(contentsOf: extra.unicodeScalars)
    }
  }
  return String(scalars)
}

/// A vocabulary of a test's own.
struct SmallVocabulary {
  struct Token {
    var text: String
    /// GGUF's: 1 normal, 2 unknown, 3 control, 4 user-defined, 6 byte.
    var type = 1
    var score: Float = 0
  }

  var tokens: [Token] = []
  var addsSpacePrefix = false

  init(_ tokens: [Token]) { self.tokens = tokens }

  /// The tokens with type and score, in a GGUF file without tensors.
  var gguf: GGUFBuilder {
    var file = GGUFBuilder()
    file["general.architecture"] = .string("gemma3")
    file["tokenizer.ggml.model"] = .string("llama")
    file["tokenizer.ggml.tokens"] = .array(tokens.map { .string($0.text) }, type: 8)
    file["tokenizer.ggml.scores"] = .array(tokens.map { .float32($0.score) }, type: 6)
    file["tokenizer.ggml.token_type"] = .array(tokens.map { .int32(Int32($0.type)) }, type: 5)
    file["tokenizer.ggml.add_space_prefix"] = .bool(addsSpacePrefix)
    if let unknown = tokens.firstIndex(where: { $0.type == 2 }) {
      file["tokenizer.ggml.unknown_token_id"] = .uint32(UInt32(unknown))
    }
    return file
  }
}

/// Opens the tokenizer of a GGUF file to be.
func openTokenizer(_ file: GGUFBuilder) throws -> Tokenizer {
  try withTemporaryModel(file.bytes) { try Tokenizer(gguf: GGUFFile.open($0)) }
}

/// Opens a tokenizer.json of this text.
func openTokenizer(json: String) throws -> Tokenizer {
  try withTemporaryDirectory { directory in
    let path = "\(directory)/tokenizer.json"
    try Data(json.utf8).write(to: URL(filePath: path))
    return try Tokenizer(json: path)
  }
}

/// What a SentencePiece vocabulary in a GGUF file means, word by word: quadratic, and nothing to get
/// wrong.
struct NaiveTokenizer {
  var vocabulary: SmallVocabulary

  private enum Fragment {
    case text([Unicode.Scalar])
    case token(Int32)
  }

  func encode(_ text: String, parseSpecial: Bool) -> [Int32] {
    var fragments: [Fragment] = text.isEmpty ? [] : [.text(Array(text.unicodeScalars))]
    let added = vocabulary.tokens.enumerated()
      .filter { $0.element.type == 4 || parseSpecial && [2, 3].contains($0.element.type) }
      .sorted {
        (-$0.element.text.utf8.count, $0.offset) < (-$1.element.text.utf8.count, $1.offset)
      }
    for (id, token) in added {
      fragments = fragments.flatMap { cut($0, Array(token.text.unicodeScalars), Int32(id)) }
    }
    var followsToken = true
    var tokens: [Int32] = []
    for fragment in fragments {
      switch fragment {
      case .token(let token):
        tokens.append(token)
        followsToken = true
      case .text(let scalars):
        let prefix: [Unicode.Scalar] = vocabulary.addsSpacePrefix && followsToken ? [" "] : []
        tokens += merge((prefix + scalars).map { $0 == " " ? "▁" : String($0) })
        followsToken = false
      }
    }
    return tokens
  }

  // Cuts a token out of a text wherever it stands, from the left.
  private func cut(_ fragment: Fragment, _ token: [Unicode.Scalar], _ id: Int32) -> [Fragment] {
    guard case .text(let scalars) = fragment else { return [fragment] }
    for start in scalars.indices where scalars[start...].starts(with: token) {
      let before = Array(scalars[..<start])
      let after = Array(scalars[(start + token.count)...])
      return (before.isEmpty ? [] : [.text(before)]) + [.token(id)]
        + (after.isEmpty ? [] : cut(.text(after), token, id))
    }
    return [fragment]
  }

  private func merge(_ characters: [String]) -> [Int32] {
    var pieces = characters
    while true {
      var best: (score: Float, index: Int)?
      for index in pieces.indices.dropLast() {
        guard let id = find(pieces[index] + pieces[index + 1]) else { continue }
        let score = vocabulary.tokens[id].score
        if best.map({ score > $0.score }) ?? true { best = (score, index) }
      }
      guard let best else { break }
      pieces[best.index] += pieces.remove(at: best.index + 1)
    }
    return pieces.flatMap { piece -> [Int32] in
      if let id = find(piece) { return [Int32(id)] }
      let bytes = piece.utf8.map { byte in
        let name = "<0x\(byte < 16 ? "0" : "")\(String(byte, radix: 16, uppercase: true))>"
        return vocabulary.tokens.firstIndex { $0.text == name }
      }
      if !bytes.contains(nil) { return bytes.compactMap { $0.map(Int32.init) } }
      return vocabulary.tokens.firstIndex { $0.type == 2 }.map { [Int32($0)] } ?? []
    }
  }

  private func find(_ text: String) -> Int? {
    vocabulary.tokens.firstIndex {
      [1, 4].contains($0.type) && $0.text.utf8.elementsEqual(text.utf8)
    }
  }
}
