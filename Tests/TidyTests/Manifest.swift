// The target table of Package.swift, read from its text. Asking SwiftPM would start a second
// SwiftPM inside `swift test`.

/// A target as the manifest declares it.
struct ManifestTarget: Sendable {
  enum Kind: String {
    case executable = "executableTarget"
    case library = "target"
    case test = "testTarget"
    case system = "systemLibrary"
  }

  var name: String
  var kind: Kind
  /// Module names, products of other packages included.
  var dependencies: Set<String>
  /// Where its sources lie.
  var path: String
}

enum Manifest {
  /// Returns the targets that the manifest's text declares, in order.
  static func targets(_ manifest: String) -> [ManifestTarget] {
    // Comments must not be read as targets, and here strings must stay.
    let text = manifest.split(separator: "\n").map { line in
      line.split(separator: "//", maxSplits: 1, omittingEmptySubsequences: false)
        .first { _ in !line.contains("://") } ?? line
    }.joined(separator: "\n")
    let products = text.matches(
      of: #/let (\w+): Target\.Dependency = \.product\(\s*name: "(\w+)"/#
    ).reduce(into: [:]) { $0[$1.output.1] = String($1.output.2) }

    let starts = text.matches(of: #/\.(executableTarget|testTarget|target|systemLibrary)\(/#)
    return starts.enumerated().compactMap { index, start in
      let end = index + 1 < starts.count ? starts[index + 1].range.lowerBound : text.endIndex
      let body = text[start.range.upperBound..<end]
      guard let kind = ManifestTarget.Kind(rawValue: String(start.output.1)),
        let name = body.firstMatch(of: #/name: "(\w+)"/#)?.output.1
      else { return nil }
      let list = body.firstMatch(of: #/dependencies: \[([^\]]*)\]/#)?.output.1 ?? ""
      let dependencies = list.split(separator: ",").compactMap { item -> String? in
        let word = item.filter { !$0.isWhitespace }
        if word.isEmpty { return nil }
        return word.hasPrefix("\"")
          ? String(word.filter { $0 != "\"" }) : products[Substring(word)] ?? String(word)
      }
      let folder = kind == .test ? "Tests" : "Sources"
      let path = body.firstMatch(of: #/path: "([^"]+)"/#)?.output.1
      return ManifestTarget(
        name: String(name),
        kind: kind,
        dependencies: Set(dependencies),
        path: path.map(String.init) ?? "\(folder)/\(name)"
      )
    }
  }
}
