// Which device of a machine is an NPU that Trestle knows.

import Glibc
import NPUDriver
import NPUFake
import Testing

/// A machine with some nodes, none of which can be opened.
private struct Machine: KernelInterface {
  var nodes: [AccelNode]
  var error: CInt

  func open(_ path: String) -> (node: CInt, error: CInt) { (-1, error) }
  func request(_ node: CInt, _ request: UInt32, _ argument: UnsafeMutableRawPointer) -> CInt {
    ENOTTY
  }
  func map(
    _ node: CInt,
    offset: UInt64,
    byteCount: Int,
    alignment: Int
  ) -> (base: UnsafeMutableRawPointer?, error: CInt) { (nil, ENODEV) }
  func unmap(_ node: CInt, _ base: UnsafeMutableRawPointer, byteCount: Int) {}
  func close(_ node: CInt) {}
}

@Suite struct `Nodes of NPUs` {
  private func error(_ nodes: [(String, String)], _ error: CInt = 0) throws -> NPUDriverError {
    let machine = Machine(
      nodes: nodes.enumerated().map { index, numbers in
        AccelNode(path: "/dev/accel/accel\(index)", vendor: numbers.0, device: numbers.1)
      },
      error: error
    )
    return try #require(throws: NPUDriverError.self) { _ = try NPUDevice(machine) }
  }

  @Test func `a machine without one says what it has instead`() throws {
    #expect(try error([]).message == "no NPU: /sys/class/accel has no device")
    let newer = try error([("0x1022", "0x17f0")])
    #expect(newer.code == .absent && newer.message.contains("0x1022:0x17f0, another AMD NPU"))
    #expect(try error([("0x8086", "0x7d1d")]).message.contains("another maker's device"))
  }

  @Test func `a node that may not be opened is told from one that is gone`() throws {
    let own = [("0x8086", "0x7d1d"), ("0x1022", "0x1502")]
    let forbidden = try error(own, EACCES)
    #expect(forbidden.code == .permission && forbidden.message.contains("/dev/accel/accel1"))
    #expect(try error(own, ENOENT).code == .absent)
  }

  @Test func `a device says what it is, and that it is no silicon`() throws {
    let info = try NPUDevice(EmulatedKernel()).info
    #expect(info.isEmulated && info.driver.contains("emulated"))
    #expect(info.columns == 5 && info.rows == 6 && info.arrayVersion == "1.1")
    #expect(info.firmware == "1.5.5.391" && info.arrayClock == 1600)
  }
}
