// What `trestle health --json` prints, and any other program that shows the health of workers.

package import Wire

/// The health of each worker.
package struct HealthDocument: Codable, Sendable, Hashable {
  package struct Worker: Codable, Sendable, Hashable {
    package var name: String
    package var pid: Int
    package var device: String
    package var emulated: Bool
    package var state: String
    package var heartbeatAgeMs: Int
    package var detail: String
    package var residentBytes: UInt64
    package var availableBytes: UInt64
    /// Absent if the machine does not report one.
    package var temperatureCelsius: Double?
    package var temperatureSensor: String?
    package var selfTest: SelfTest?
  }

  package struct SelfTest: Codable, Sendable, Hashable {
    package var run: UInt32
    package var passed: Bool
    /// Absent if it is infinite or NaN, which JSON cannot express.
    package var maxError: Double?
    package var tolerance: Double

    package init(_ report: SelfTestReport) {
      run = report.run
      passed = report.failure.isEmpty
      maxError = report.maxError.isFinite ? report.maxError : nil
      tolerance = report.tolerance
    }
  }

  package var healthy: Bool
  package var workers: [Worker]

  package init(_ health: HealthReply) {
    healthy = health.isHealthy
    workers = health.workers.map { worker in
      Worker(
        name: worker.name,
        pid: worker.pid,
        device: worker.device,
        emulated: worker.isEmulated,
        state: worker.state.name,
        heartbeatAgeMs: worker.heartbeatAgeMilliseconds,
        detail: worker.detail,
        residentBytes: worker.residentBytes,
        availableBytes: worker.availableBytes,
        temperatureCelsius: worker.temperature?.celsius,
        temperatureSensor: worker.temperature?.sensor,
        selfTest: worker.selfTest.map { SelfTest($0) }
      )
    }
  }
}
