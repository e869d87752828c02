// `doctor --npu-selftest`: tries an NPU on its owner's machine, step by step, and writes one file that can be attached to a
// report.

import Foundation
import Launch
import NPUArray
import NPUBackend
import NPUDriver
import NPUFake

/// What the self-test has found, as one JSON document.
///
/// It names no user, host or file.
struct NPUReport: Encodable {
  var program = "trestle \(programVersion)"
  /// The kernel's release and the processor's name.
  var kernel = NPUDiagnosis.kernelRelease
  var processor = NPUReport.processorName
  var device: NPUDeviceInfo?
  var emulated: Bool?
  var steps: [NPUSelfTestStep]

  var isRight: Bool { !steps.contains { $0.outcome == .failed } }

  private static var processorName: String {
    let text = (try? String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8)) ?? ""
    let line = text.split(separator: "\n").first { $0.hasPrefix("model name") }
    return line?.split(separator: ":").last.map { $0.trimmingCharacters(in: .whitespaces) }
      ?? "unknown"
  }
}

extension NPUReport {
  /// Runs the self-test.
  ///
  /// - Parameters:
  ///   - emulates: Whether software stands in for the device.
  ///   - foreign: Files with a PDI and with control code that somebody else has made; nil to skip that step.
  ///   - prints: Whether to print what is found meanwhile.
  /// - Returns: What was found.
  /// - Throws: The error of a file that cannot be read, or of an output that cannot be written.
  static func make(
    emulates: Bool,
    foreign: (image: String, code: String)?,
    prints: Bool
  ) throws -> NPUReport {
    let kernel: any KernelInterface = if emulates { EmulatedKernel() } else { SystemKernel() }
    let design = try foreign.map { foreign in
      let code = try words(of: foreign.code)
      do { _ = try ControlCode.operations(in: code) } catch {
        throw CommandError("--npu-code \(foreign.code): is no control code: \(error)")
      }
      return ForeignDesign(image: try words(of: foreign.image), code: code)
    }
    let found = try NPUSelfTest(kernel, foreign: design) { step in
      // What is skipped behind a failure need not be told.
      guard prints, step.outcome != .skipped || step.isUnasked else { return }
      let time = step.microseconds.map { " (\(decimal($0, 0)) us)" } ?? ""
      try printOut("\(step.outcome.rawValue.padded(to: 7)) \(step.name): \(step.detail)\(time)")
      guard step.outcome == .failed else { return }
      try printOut("        it would have shown: \(step.proves)")
      if step.name == "open", let remedy = NPUDiagnosis().report().remedy {
        try printOut("        \(remedy)")
      }
    }.run()
    return NPUReport(
      device: found.info,
      emulated: found.info?.isEmulated,
      steps: found.steps
    )
  }

  private static let mostBytes = 32 << 20

  /// Returns a file's words.
  private static func words(of path: String) throws -> [UInt32] {
    // More than the device's heap holds is neither.
    let size = (try? FileManager.default.attributesOfItem(atPath: path)[.size] as? Int) ?? 0
    guard size <= mostBytes else {
      throw CommandError("\(path): \(size) bytes; an NPU takes \(mostBytes) at most")
    }
    let bytes: Data
    do { bytes = try Data(contentsOf: URL(filePath: path)) } catch {
      throw CommandError("\(path): cannot be read")
    }
    guard !bytes.isEmpty, bytes.count.isMultiple(of: 4) else {
      throw CommandError("\(path): \(bytes.count) bytes are no words of 32 bits")
    }
    return stride(from: 0, to: bytes.count, by: 4).map { index in
      (0..<4).reduce(0) { $0 | UInt32(bytes[bytes.startIndex + index + $1]) << UInt32(8 * $1) }
    }
  }
}

extension String {
  fileprivate func padded(to width: Int) -> String {
    self + String(repeating: " ", count: max(0, width - count))
  }
}
