// Memory taken from the system page by page, as it is touched.

internal import Compute
internal import Glibc

/// An anonymous mapping: zero at first, and holding pages only where it has been written.
@safe final class MappedMemory {
  let base: UnsafeMutableRawPointer
  let byteCount: Int

  /// What the system maps at a time: 4 KiB, or on some ARM machines 16 or 64 KiB.
  static let pageByteCount = sysconf(Int32(_SC_PAGESIZE))

  /// - Throws: `ComputeError` with code `device`, naming `purpose`, if the address space or the
  ///   system's limits do not allow it.
  init(byteCount: Int, purpose: String) throws(ComputeError) {
    let size = max(byteCount, 1)
    let address = unsafe mmap(
      nil,
      size,
      PROT_READ | PROT_WRITE,
      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
      -1,
      0
    )
    guard let address = unsafe address, unsafe address != MAP_FAILED else {
      throw ComputeError(
        .device,
        "no \(size) bytes for \(purpose): \(unsafe String(cString: strerror(errno)))"
      )
    }
    unsafe base = unsafe address
    self.byteCount = size
  }

  deinit { unsafe munmap(base, byteCount) }

  /// Asks for huge pages: streaming through gigabytes misses the TLB at every small one.
  func preferHugePages() {
    // Where the system has none, small pages serve.
    _ = unsafe madvise(base, byteCount, MADV_HUGEPAGE)
  }

  /// Gives the pages of a range back; they read as zero again.
  ///
  /// - Precondition: `offset` and `count` are multiples of the page size.
  func discard(offset: Int, count: Int) {
    let page = Self.pageByteCount
    precondition(
      offset.isMultiple(of: page) && count.isMultiple(of: page),
      "\(count) bytes at \(offset) are no whole pages of \(page)"
    )
    if unsafe madvise(base + offset, count, MADV_DONTNEED) == 0 { return }
    // Locked pages (mlockall) are refused: they stay in memory, and are cleared by hand.
    unsafe memset(base + offset, 0, count)
  }
}

/// Returns the product of sizes that come from outside.
///
/// - Throws: `ComputeError` with code `device`, naming `purpose`, if it does not fit.
func product(_ factors: Int..., purpose: String) throws(ComputeError) -> Int {
  var result = 1
  for factor in factors {
    let (next, overflow) = result.multipliedReportingOverflow(by: factor)
    guard !overflow, next >= 0 else {
      throw ComputeError(.device, "the size of \(purpose) overflows: \(factors)")
    }
    result = next
  }
  return result
}
