// The instruction sets that the CPU kernels are compiled for.

internal import CPUKernels

/// A set of vector instructions that the kernels may use.
///
/// Results are bit-identical with each of them; only the speed differs.
package enum InstructionSet: String, Sendable, Hashable, CaseIterable {
  /// No vector instructions; works on every machine.
  case scalar
  /// AVX2 and F16C: x86-64 machines from 2013 on.
  case avx2
  /// AVX-512 with VNNI: Zen 4, Ice Lake and later.
  case avx512vnni

  /// Whether this machine has it.
  package var isSupported: Bool { unsafe cpu_kernels_for(identifier) != nil }

  /// The fastest set that this machine has.
  package static var best: InstructionSet {
    allCases.last { $0.isSupported } ?? .scalar
  }

  var identifier: cpu_isa {
    switch self {
    case .scalar: CPU_SCALAR
    case .avx2: CPU_AVX2
    case .avx512vnni: CPU_AVX512VNNI
    }
  }
}
