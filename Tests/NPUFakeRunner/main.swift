// Runs a command that finds an NPU where there is none: its driver's kernel is this process, and the array is
// simulated. For tests of the program that users get, as it is.

internal import Foundation
internal import Glibc
internal import NPUFake

func say(_ text: String) { FileHandle.standardError.write(Data("npu-fake: \(text)\n".utf8)) }

func run(_ options: Options) throws -> CInt {
  let executable = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
  let beside = URL(fileURLWithPath: executable).deletingLastPathComponent()
  let library = options.library ?? beside.appendingPathComponent("libtrestle-npu-preload.so").path
  guard FileManager.default.isReadableFile(atPath: library) else {
    say("there is no library \(library)")
    return 2
  }
  var template = Array(
    FileManager.default.temporaryDirectory.appendingPathComponent("npu-fake-XXXXXX").path
      .utf8CString
  )
  guard unsafe mkdtemp(&template) != nil else { throw ServerError("mkdtemp") }
  let directory = String(decoding: template.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
  defer { try? FileManager.default.removeItem(atPath: directory) }

  let kernel = FakeKernel(faults: options.faults)
  let server = try Server(kernel, path: directory + "/kernel")
  server.start()
  var environment = ProcessInfo.processInfo.environment
  let others = environment["LD_PRELOAD"].map { " " + $0 } ?? ""
  environment["LD_PRELOAD"] = URL(fileURLWithPath: library).path + others
  environment["TRESTLE_NPU_FAKE"] = server.path
  let status = try Command.run(options.command, environment)
  if options.tells {
    let done = kernel.statistics
    say(
      "\(done.completed) of \(done.commands) commands completed, \(done.chains) chains, "
        + "\(done.contexts) contexts, \(done.bytesToDevice) bytes there and "
        + "\(done.bytesFromDevice) back, \(done.cycles) cycles"
    )
    for fault in done.faults { say(fault) }
  }
  return status
}

Command.holdSignals()
do {
  exit(try run(Options(Array(CommandLine.arguments.dropFirst()))))
} catch let error as OptionError {
  say(error.message)
  FileHandle.standardError.write(Data(Options.usage.utf8))
  exit(2)
} catch let error as ServerError {
  say(error.message)
  exit(127)
} catch {
  say("\(error)")
  exit(2)
}
