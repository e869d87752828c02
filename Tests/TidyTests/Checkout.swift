// The project's own files, as the tidy tests read them.

import Foundation
import TestSupport

/// One text file of the project.
struct ProjectFile: Sendable, CustomStringConvertible {
  /// From the top of the checkout: `Sources/Wire/Socket.swift`.
  var path: String
  var text: String

  var description: String { path }
  var name: String { String(path.split(separator: "/").last ?? "") }
  var lines: [Substring] { text.split(separator: "\n", omittingEmptySubsequences: false) }

  var isSwift: Bool { path.hasSuffix(".swift") }
  var isC: Bool { [".c", ".h", ".comp", ".glsl"].contains { path.hasSuffix($0) } }
  var isScript: Bool {
    path.hasPrefix("scripts/") || path.hasPrefix(".ci/") || path.hasSuffix(".py")
  }
  /// Made by a tool from a file that is checked in its stead.
  var isGenerated: Bool { name.contains(".pb-c.") || path.contains("/Generated/") }

  /// The module a source belongs to: the folder below Sources or Tests.
  var module: String? {
    let parts = path.split(separator: "/")
    guard parts.count > 2, parts[0] == "Sources" || parts[0] == "Tests" else { return nil }
    return String(parts[1])
  }
}

/// The checkout.
enum Checkout {
  /// Every text file that is tracked or about to be, generated ones included, in path order.
  static let files: [ProjectFile] = paths.compactMap { path in
    // Weights and goldens are no text; nothing else here is as large as a megabyte.
    guard let data = try? Data(contentsOf: Goldens.checkout.appending(path: path)),
      data.count < 1 << 20, let text = String(data: data, encoding: .utf8)
    else { return nil }
    return ProjectFile(path: path, text: text)
  }

  /// What people wrote in a programming language: Swift, C, shaders, messages, scripts.
  static let sources = files.filter {
    !$0.isGenerated && ($0.isSwift || $0.isC || $0.isScript || $0.path.hasSuffix(".proto"))
  }

  /// Returns a file's text; nil if there is none.
  static func text(_ path: String) -> String? {
    files.first { $0.path == path }?.text
  }

  /// Whether a file or folder is there.
  static func exists(_ path: String) -> Bool {
    FileManager.default.fileExists(atPath: Goldens.checkout.appending(path: path).path)
  }

  /// As git lists them; in an unpacked archive, whatever lies there.
  private static let paths: [String] = {
    let listing = try? run(
      "git",
      "ls-files",
      "--cached",
      "--others",
      "--exclude-standard",
      "-z"
    )
    if let listing, listing.status == 0 {
      return listing.output.split(separator: "\0").map(String.init).sorted()
    }
    let enumerator = FileManager.default.enumerator(atPath: Goldens.checkout.path)
    var found: [String] = []
    while let path = enumerator?.nextObject() as? String {
      if path.hasPrefix(".build") || path == ".git" {
        enumerator?.skipDescendants()
      } else {
        found.append(path)
      }
    }
    return found.sorted()
  }()

  /// Runs a program at the top of the checkout.
  static func run(_ command: String...) throws -> (status: Int32, output: String) {
    let process = Process()
    process.executableURL = URL(filePath: "/usr/bin/env")
    process.arguments = command
    process.currentDirectoryURL = Goldens.checkout
    let pipe = Pipe()
    process.standardOutput = pipe
    process.standardError = FileHandle.nullDevice
    try process.run()
    let output = pipe.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    return (process.terminationStatus, String(decoding: output, as: UTF8.self))
  }
}
