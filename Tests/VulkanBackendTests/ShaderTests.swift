// The committed shaders are those of the committed sources, and each has its place.

import Compute
import Foundation
import Testing

@testable import VulkanBackend

@Suite struct `Committed shaders` {
  private static let folder = URL(filePath: #filePath).deletingLastPathComponent()
    .appending(path: "../../kernels/vulkan").standardizedFileURL

  private static func files(_ suffix: String, in folder: URL = folder) throws -> Set<String> {
    let names = try FileManager.default.contentsOfDirectory(atPath: folder.path)
    return Set(names.filter { $0.hasSuffix(suffix) })
  }

  private static func run(_ program: String, _ arguments: [String]) throws -> (Int32, String) {
    let process = Process()
    let output = Pipe()
    process.executableURL = URL(filePath: program)
    process.arguments = arguments
    process.currentDirectoryURL = folder
    process.standardOutput = output
    process.standardError = output
    try process.run()
    let text = output.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    return (process.terminationStatus, String(decoding: text, as: UTF8.self))
  }

  @Test func `every source and every shader has the committed checksum`() throws {
    let sums = try String(contentsOf: Self.folder.appending(path: "SHA256SUMS"), encoding: .utf8)
    let listed = Set(sums.split(separator: "\n").compactMap { $0.split(separator: " ").last })
    let sources = try Self.files(".comp").union(Self.files(".glsl"))
    let shaders = try Self.files(".spv", in: Self.folder.appending(path: "spirv"))
    #expect(shaders == Set(try Self.files(".comp").map { $0.replacing(".comp", with: ".spv") }))
    let want = sources.union(shaders.map { "spirv/\($0)" }).union(["shaders.c"])
    #expect(Set(listed.map(String.init)) == want)
    let (status, text) = try Self.run("/usr/bin/sha256sum", ["--check", "--quiet", "SHA256SUMS"])
    #expect(status == 0, "run scripts/compile-shaders: \(text)")
  }

  @Test func `compiling again gives the same bytes`() throws {
    let compiler = "/usr/bin/glslangValidator"
    guard FileManager.default.isExecutableFile(atPath: compiler) else {
      print("skipped: \(compiler) is not installed (apt-get install glslang-tools spirv-tools)")
      return
    }
    let script = Self.folder.appending(path: "../../scripts/compile-shaders").standardizedFileURL
    let (status, text) = try Self.run(script.path, ["--check"])
    #expect(status == 0, "\(text)")
  }
}
