// Memory that the system provides page by page when it is first touched.

internal import Compute
internal import Glibc

/// An anonymous mapping.
///
/// It is zero at first, and has pages only where it was written.
@safe final class MappedMemory {
  let base: UnsafeMutableRawPointer
  let byteCount: Int

  /// The page size: 4 KiB, or 16 or 64 KiB on some ARM machines.
  static let pageByteCount = sysconf(Int32(_SC_PAGESIZE))

  /// - Throws: `ComputeError` with code `memory`, naming `purpose`, if the address space or the
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
        .memory,
        "no \(size) bytes for \(purpose): \(unsafe String(cString: strerror(errno)))"
      )
    }
    unsafe base = unsafe address
    self.byteCount = size
  }

  deinit { unsafe munmap(base, byteCount) }

  /// Asks for huge pages, because reading gigabytes sequentially misses the TLB at every small
  /// page.
  func preferHugePages() {
    // If the system has no huge pages, small ones are used.
    _ = unsafe madvise(base, byteCount, MADV_HUGEPAGE)
  }

  /// Releases the pages of a range; they read as zero again.
  ///
  /// - Precondition: `offset` and `count` are multiples of the page size.
  func discard(offset: Int, count: Int) {
    let page = Self.pageByteCount
    precondition(
      offset.isMultiple(of: page) && count.isMultiple(of: page),
      "\(count) bytes at \(offset) are not whole pages of \(page)"
    )
    if unsafe madvise(base + offset, count, MADV_DONTNEED) == 0 { return }
    // The call fails for locked pages (mlockall). They stay in memory and are cleared here.
    unsafe memset(base + offset, 0, count)
  }
}

/// Returns the product of sizes that come from outside.
///
/// - Throws: `ComputeError` with code `memory`, naming `purpose`, if it does not fit.
func product(_ factors: Int..., purpose: String) throws(ComputeError) -> Int {
  var result = 1
  for factor in factors {
    let (next, overflow) = result.multipliedReportingOverflow(by: factor)
    guard !overflow, next >= 0 else {
      throw ComputeError(.memory, "the size of \(purpose) overflows: \(factors)")
    }
    result = next
  }
  return result
}
