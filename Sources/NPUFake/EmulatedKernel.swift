// The fake kernel for the process that it is in, in the place of this machine's.

internal import CAMDXDNA
internal import Glibc
package import NPUDriver

/// A kernel with an NPU that is simulated in this process.
package final class EmulatedKernel: KernelInterface {
  private let kernel: FakeKernel

  /// - Parameter faults: What goes wrong, and when.
  package init(faults: [FakeFault] = []) { kernel = FakeKernel(faults: faults) }

  /// What has been asked of it.
  package var statistics: FakeStatistics { kernel.statistics }

  package var nodes: [AccelNode] {
    [AccelNode(path: "/dev/accel/accel0", vendor: "0x1022", device: "0x1502")]
  }

  package func open(_ path: String) -> (node: CInt, error: CInt) {
    guard nodes.contains(where: { $0.path == path }) else { return (-1, ENOENT) }
    do throws(FakeErrno) {
      return (CInt(try kernel.open()), 0)
    } catch {
      return (-1, error.number)
    }
  }

  package func request(
    _ node: CInt,
    _ request: UInt32,
    _ argument: UnsafeMutableRawPointer
  ) -> CInt {
    while true {
      let error = kernel.request(
        Int(node),
        request,
        UInt64(UInt(bitPattern: argument)),
        OwnMemory()
      )
      // As after a signal: the request is made again.
      guard error == EINTR else { return error }
    }
  }

  package func map(
    _ node: CInt,
    offset: UInt64,
    byteCount: Int,
    alignment: Int
  ) -> (base: UnsafeMutableRawPointer?, error: CInt) {
    var base: UnsafeMutableRawPointer?
    let error = unsafe amdxdna_map(kernel.memory, offset, byteCount, alignment, &base)
    if let base = unsafe base {
      kernel.mapped(
        Int(node),
        offset: offset,
        count: byteCount,
        at: UInt64(UInt(bitPattern: base))
      )
    }
    return unsafe (base, error)
  }

  package func unmap(_ node: CInt, _ base: UnsafeMutableRawPointer, byteCount: Int) {
    kernel.unmapped(Int(node), at: UInt64(UInt(bitPattern: base)))
    unsafe munmap(base, byteCount)
  }

  package func close(_ node: CInt) { kernel.close(Int(node)) }
}
