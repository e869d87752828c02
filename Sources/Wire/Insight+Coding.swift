// Self-tests, temperatures, latencies and decisions in protobuf-c's structs and back.

internal import WireMessages

extension SelfTest {
  func packed(_ packer: Packer) -> UnsafeMutablePointer<Trestle__SelfTest> {
    let c = unsafe packer.make(trestle__self_test__init)
    unsafe c.pointee.run = run
    return unsafe c
  }

  init(unpacking c: Trestle__SelfTest) throws(WireError) {
    try unsafe Unpack.known(c.base, "SelfTest")
    unsafe self.init(run: c.run)
  }
}

extension Temperature {
  func packed(_ packer: Packer) -> UnsafeMutablePointer<Trestle__Temperature> {
    let c = unsafe packer.make(trestle__temperature__init)
    unsafe c.pointee.sensor = packer.text(sensor, "Temperature.sensor", limit: Limits.nameBytes)
    unsafe c.pointee.celsius = packer.finite(celsius, "Temperature.celsius")
    return unsafe c
  }

  init(unpacking c: Trestle__Temperature) throws(WireError) {
    try unsafe Unpack.known(c.base, "Temperature")
    try unsafe self.init(
      sensor: Unpack.text(c.sensor, "Temperature.sensor", limit: Limits.nameBytes),
      celsius: Unpack.finite(c.celsius, "Temperature.celsius")
    )
  }
}

extension SelfTestReport {
  func packed(_ packer: Packer) -> UnsafeMutablePointer<Trestle__SelfTestReport> {
    let c = unsafe packer.make(trestle__self_test_report__init)
    unsafe c.pointee.run = run
    // A device that is broken enough brings infinities, which are to be told.
    unsafe c.pointee.max_error = maxError
    unsafe c.pointee.tolerance = packer.finite(tolerance, "SelfTestReport.tolerance")
    unsafe c.pointee.failure = packer.prose(failure)
    return unsafe c
  }

  init(unpacking c: Trestle__SelfTestReport) throws(WireError) {
    try unsafe Unpack.known(c.base, "SelfTestReport")
    try unsafe self.init(
      run: c.run,
      maxError: c.max_error,
      tolerance: Unpack.finite(c.tolerance, "SelfTestReport.tolerance"),
      failure: Unpack.text(c.failure, "SelfTestReport.failure", limit: Limits.proseBytes)
    )
  }
}

extension AutoRebalance {
  func packed(_ packer: Packer) -> UnsafeMutablePointer<Trestle__AutoRebalance> {
    let c = unsafe packer.make(trestle__auto_rebalance__init)
    unsafe c.pointee.decision = packer.prose(decision)
    unsafe c.pointee.age_milliseconds = ageMilliseconds
    return unsafe c
  }

  init(unpacking c: Trestle__AutoRebalance) throws(WireError) {
    try unsafe Unpack.known(c.base, "AutoRebalance")
    try unsafe self.init(
      decision: Unpack.text(c.decision, "AutoRebalance.decision", limit: Limits.proseBytes),
      ageMilliseconds: c.age_milliseconds
    )
  }
}

extension LatencySummary {
  func packed(_ packer: Packer) -> UnsafeMutablePointer<Trestle__LatencySummary> {
    let c = unsafe packer.make(trestle__latency_summary__init)
    unsafe c.pointee.count = count
    unsafe c.pointee.p50_microseconds = p50Microseconds
    unsafe c.pointee.p90_microseconds = p90Microseconds
    unsafe c.pointee.p99_microseconds = p99Microseconds
    return unsafe c
  }

  init(unpacking c: Trestle__LatencySummary) throws(WireError) {
    try unsafe Unpack.known(c.base, "LatencySummary")
    unsafe self.init(
      count: c.count,
      p50Microseconds: c.p50_microseconds,
      p90Microseconds: c.p90_microseconds,
      p99Microseconds: c.p99_microseconds
    )
  }
}
