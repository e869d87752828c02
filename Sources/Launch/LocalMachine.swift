// What profiles say of this machine: its name, and the memory it has left.

internal import Glibc
internal import Platform

enum LocalMachine {
  /// The machine's name, without asking the network.
  static var name: String {
    var name = [CChar](repeating: 0, count: 256)
    guard unsafe gethostname(&name, name.count - 1) == 0 else { return "localhost" }
    let text = String(decoding: name.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
    return String(text.filter { $0.isLetter || $0.isNumber || $0 == "." })
  }

  /// What can be had without swapping, or all there is where the kernel does not tell.
  static var availableMemoryBytes: Double {
    Double(SystemMemory.available ?? SystemMemory.total)
  }
}
