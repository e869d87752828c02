// The facts about this machine that go into profiles: its name and its available memory.

internal import Glibc
internal import Platform

enum LocalMachine {
  /// The machine's name as the kernel knows it; the network is not asked.
  static var name: String {
    var name = [CChar](repeating: 0, count: 256)
    guard unsafe gethostname(&name, name.count - 1) == 0 else { return "localhost" }
    let text = String(decoding: name.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
    return String(text.filter { $0.isLetter || $0.isNumber || $0 == "." })
  }

  /// The memory that is available without swapping, or all memory if the kernel does not report it.
  static var availableMemoryBytes: Double {
    Double(SystemMemory.available ?? SystemMemory.total)
  }
}
