// The system calls of a driver's node: those of this machine's kernel, or of something that stands in for it.

internal import CAMDXDNA
internal import Foundation
internal import Glibc

/// A node of a device of the kernel's "accel" class, as sysfs describes it.
package struct AccelNode: Sendable, Hashable {
  package var path: String
  /// The numbers of PCI, as sysfs writes them: `0x1022`.
  package var vendor: String
  package var device: String

  package init(path: String, vendor: String, device: String) {
    self.path = path
    self.vendor = vendor
    self.device = device
  }
}

/// What a process asks of the kernel to use a device.
///
/// Numbers of errors are those of errno; 0 is success. All functions may be called by any thread.
package protocol KernelInterface: Sendable {
  /// The nodes of all devices of the class, in their order.
  var nodes: [AccelNode] { get }
  /// Opens a node.
  func open(_ path: String) -> (node: CInt, error: CInt)
  /// Does a request; `argument` is the structure that it has.
  func request(_ node: CInt, _ request: UInt32, _ argument: UnsafeMutableRawPointer) -> CInt
  /// Maps pages of a buffer at a multiple of `alignment`, and returns where; nil with an error.
  func map(
    _ node: CInt,
    offset: UInt64,
    byteCount: Int,
    alignment: Int
  ) -> (base: UnsafeMutableRawPointer?, error: CInt)
  func unmap(_ node: CInt, _ base: UnsafeMutableRawPointer, byteCount: Int)
  func close(_ node: CInt)
}

/// This machine's kernel.
package struct SystemKernel: KernelInterface {
  package init() {}

  /// More than anybody has.
  private static let mostNodes = 8

  package var nodes: [AccelNode] {
    (0..<Self.mostNodes).compactMap { number in
      let directory = "/sys/class/accel/accel\(number)/device"
      guard let vendor = Self.line("\(directory)/vendor"),
        let device = Self.line("\(directory)/device")
      else { return nil }
      return AccelNode(path: "/dev/accel/accel\(number)", vendor: vendor, device: device)
    }
  }

  /// The first line of a file; nil if there is none.
  static func line(_ path: String) -> String? {
    let text = try? String(contentsOfFile: path, encoding: .utf8)
    return text?.split(separator: "\n").first.map(String.init)
  }

  package func open(_ path: String) -> (node: CInt, error: CInt) {
    var node: CInt = -1
    let error = unsafe amdxdna_open(path, &node)
    return (node, error)
  }

  package func request(
    _ node: CInt,
    _ request: UInt32,
    _ argument: UnsafeMutableRawPointer
  ) -> CInt {
    unsafe amdxdna_request(node, request, argument)
  }

  package func map(
    _ node: CInt,
    offset: UInt64,
    byteCount: Int,
    alignment: Int
  ) -> (base: UnsafeMutableRawPointer?, error: CInt) {
    var base: UnsafeMutableRawPointer?
    let error = unsafe amdxdna_map(node, offset, byteCount, alignment, &base)
    return unsafe (base, error)
  }

  package func unmap(_ node: CInt, _ base: UnsafeMutableRawPointer, byteCount: Int) {
    unsafe munmap(base, byteCount)
  }

  package func close(_ node: CInt) { Glibc.close(node) }
}
