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
    let page = /(?:https?:\/\/)?(?:huggingface\.co|hf\.co)\//
    var rest = text.trimmingPrefix(page)
    if let at = rest.lastIndex(of: "@") {
      let revision = String(rest[rest.index(after: at)...])
      guard FilePath.isValid(revision) else {
        throw HubError(
          .name,
          "is no name of a revision: \(revision.debugDescription)",
          context: text
        )
      }
      self.revision = revision
      rest = rest[..<at]
    }
    let parts = rest.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
    guard let name = parts.first, let repository = RepositoryName(String(name)) else {
      throw HubError(
        .name,
        "is no name of a repository; it is ORG/NAME, or ORG/NAME:QUANT for one of several files, as in"
          + " google/gemma-3n-E2B-it or ggml-org/gemma-3-270m-GGUF:Q8_0, and may end with @REVISION",
        context: text
      )
    }
    self.repository = repository
    guard parts.count == 2 else { return }
    guard !parts[1].isEmpty, FilePath.isValid(String(parts[1])) else {
      throw HubError(
        .name,
        "names no file after the colon; give a part of its name such as Q4_K_M, or the whole of it",
        context: text
      )
    }
    quantisation = String(parts[1])
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
      && path.unicodeScalars.allSatisfy { $0.value >= 0x20 && $0.value != 0x7F && $0 != "\\" }
  }
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
