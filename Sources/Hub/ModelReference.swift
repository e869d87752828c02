// What a user calls a model of a hub: its repository, which of its quantisations, and of which revision,
// `ORG/NAME:QUANT@REVISION`.

/// The name of a repository, `ORG/NAME`.
package struct RepositoryName: Sendable, Hashable, CustomStringConvertible {
  package let organisation: String
  package let name: String

  /// - Returns: nil if it is no such name: one slash, and letters, digits, `-`, `_` and `.` on both sides, as
  ///   `validate_repo_id` of huggingface_hub has it.
  package init?(_ text: String) {
    let parts = text.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
    guard parts.count == 2, parts.allSatisfy(Self.isComponent) else { return nil }
    (organisation, name) = (parts[0], parts[1])
  }

  private static func isComponent(_ text: String) -> Bool {
    (1...96).contains(text.utf8.count) && !text.contains("..") && !text.contains("--")
      && text.utf8.allSatisfy {
        isWordByte($0) || $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: ".")
      }
      && !text.hasPrefix(".") && !text.hasPrefix("-") && !text.hasSuffix(".")
      && !text.hasSuffix("-")
  }

  package var description: String { "\(organisation)/\(name)" }
}

/// A model of a hub.
package struct ModelReference: Sendable, Hashable, CustomStringConvertible {
  package var repository: RepositoryName
  /// A part of a GGUF file's name such as `Q4_K_M`, or the path of a file in the repository; nil for the usual one.
  package var quantisation: String?
  /// A branch, a tag or a commit; nil for the branch `main`.
  package var revision: String?

  package init(
    _ repository: RepositoryName,
    quantisation: String? = nil,
    revision: String? = nil
  ) {
    self.repository = repository
    self.quantisation = quantisation
    self.revision = revision
  }

  /// The revision that is meant.
  package var wantedRevision: String { revision ?? "main" }

  /// Reads `ORG/NAME`, with or without `:QUANT` and `@REVISION` behind it.
  ///
  /// The address of the repository's page is as good as its name.
  ///
  /// - Throws: `HubError.name`.
  package init(_ text: String) throws(HubError) {
    let rest = text.trimmingPrefix(/(?:https?:\/\/)?(?:huggingface\.co|hf\.co)\//)
    guard
      // A file may have an @ in its name, and then ends with .gguf.
      let match = rest.wholeMatch(
        of: /([^:@]*)(?::((?i:.*?\.gguf)(?=@|$)|[^@]*))?(?:@(.*))?/.dotMatchesNewlines()
      ), let repository = RepositoryName(String(match.1))
    else {
      throw HubError(
        .name,
        "is no name of a repository; it is ORG/NAME, or ORG/NAME:QUANT for one of several files, as in"
          + " google/gemma-3n-E2B-it or ggml-org/gemma-3-270m-GGUF:Q8_0, and may end with @REVISION",
        context: text
      )
    }
    self.repository = repository
    quantisation = match.2.map(String.init)
    if let quantisation, !FilePath.isValid(quantisation) {
      throw HubError(
        .name,
        "names no file after the colon; give a part of its name such as Q4_K_M, or the whole of it",
        context: text
      )
    }
    if let revision = match.3 { self = try at(String(revision)) }
  }

  /// Returns the same of a branch, a tag or a commit.
  ///
  /// - Throws: `HubError.name`.
  package func at(_ revision: String) throws(HubError) -> ModelReference {
    guard FilePath.isValid(revision), !revision.contains(":") else {
      throw HubError(
        .name,
        "\(revision.debugDescription) is no name of a revision; a model is ORG/NAME:QUANT@REVISION",
        context: "\(self)"
      )
    }
    var result = self
    result.revision = revision
    return result
  }

  package var description: String {
    "\(repository)" + (quantisation.map { ":\($0)" } ?? "") + (revision.map { "@\($0)" } ?? "")
  }
}

/// Paths of files in a repository.
enum FilePath {
  /// Whether a path stays below the directory that it is appended to, and is one line.
  static func isValid(_ path: String) -> Bool {
    path.utf8.count <= 1024
      && path.split(separator: "/", omittingEmptySubsequences: false)
        .allSatisfy { !$0.isEmpty && $0 != "." && $0 != ".." && $0.utf8.count <= 255 }
      && path.unicodeScalars.allSatisfy { $0 != "\\" && isShown($0) }
  }
}

/// Whether a character changes neither the terminal nor the order of what is read.
private func isShown(_ scalar: Unicode.Scalar) -> Bool {
  let hidden: [Unicode.GeneralCategory] = [.control, .lineSeparator, .paragraphSeparator]
  return !hidden.contains(scalar.properties.generalCategory) && !scalar.properties.isBidiControl
}

/// Names that stand for content.
enum ContentName {
  /// Whether it is a commit: 40 hexadecimal digits.
  static func isCommit(_ text: String) -> Bool { text.utf8.count == 40 && isHex(text) }

  /// Whether it names a file's content: git's digest, or a SHA-256.
  static func isObject(_ text: String) -> Bool {
    (text.utf8.count == 40 || text.utf8.count == 64) && isHex(text)
  }

  private static func isHex(_ text: String) -> Bool {
    text.utf8.allSatisfy {
      (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0)
        || (UInt8(ascii: "a")...UInt8(ascii: "f")).contains($0)
    }
  }
}

/// Whether a byte is a letter, a digit or an underscore.
func isWordByte(_ byte: UInt8) -> Bool {
  switch byte {
  case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
    UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"):
    true
  default: false
  }
}
