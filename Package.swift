// swift-tools-version: 6.3
import PackageDescription

let strict: [SwiftSetting] = [
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("MemberImportVisibility"),
  .enableUpcomingFeature("InternalImportsByDefault"),
  .strictMemorySafety(),
  .treatAllWarnings(as: .error),
]

let argumentParser: Target.Dependency = .product(
  name: "ArgumentParser",
  package: "swift-argument-parser"
)
let logging: Target.Dependency = .product(name: "Logging", package: "swift-log")
let hummingbird: Target.Dependency = .product(name: "Hummingbird", package: "hummingbird")
let hummingbirdCore: Target.Dependency = .product(name: "HummingbirdCore", package: "hummingbird")
let httpTypes: Target.Dependency = .product(name: "HTTPTypes", package: "swift-http-types")
let nioCore: Target.Dependency = .product(name: "NIOCore", package: "swift-nio")
let nioHTTP1: Target.Dependency = .product(name: "NIOHTTP1", package: "swift-nio")
let nioHTTPTypes: Target.Dependency = .product(name: "NIOHTTPTypes", package: "swift-nio-extras")
let asyncAlgorithms: Target.Dependency = .product(
  name: "AsyncAlgorithms",
  package: "swift-async-algorithms"
)
let serviceLifecycle: Target.Dependency = .product(
  name: "ServiceLifecycle",
  package: "swift-service-lifecycle"
)

let package = Package(
  name: "trestle",
  products: [
    .executable(name: "trestle", targets: ["trestle"]),
    .executable(name: "npu-fake", targets: ["NPUFakeRunner"]),
    .library(name: "trestle-npu-preload", type: .dynamic, targets: ["CNPUPreload"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
    .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.1", traits: []),
    // What Hummingbird's interface is made of; it brings them along.
    .package(url: "https://github.com/apple/swift-http-types", from: "1.8.0"),
    .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
    .package(url: "https://github.com/apple/swift-nio-extras", from: "1.35.2"),
    .package(url: "https://github.com/apple/swift-async-algorithms", from: "1.1.4"),
    .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
  ],
  targets: [
    // The executable: the only target that knows every other.
    .executableTarget(
      name: "trestle",
      dependencies: [
        "Server", "Client", "Launch", "Coordinator", "Worker", "CPUBackend", "VulkanBackend",
        "NPUBackend", "NPUDriver", "NPUFake", "NPUArray", "BackendConformance", "Quantization",
        "Hub", "Gemma", "ModelFiles", "Wire", "Compute", "Content", "Platform", "CPUKernels",
        "CLinux",
        argumentParser, logging,
      ],
      swiftSettings: strict
    ),

    // The front door: an API over HTTP, a client of the coordinator like any other.
    .target(
      name: "Server",
      dependencies: [
        "Client", "Gemma", "ModelFiles", "Wire", "Content", "Platform", "ServerPage",
        hummingbird, hummingbirdCore, httpTypes, nioCore, nioHTTP1, nioHTTPTypes, asyncAlgorithms,
        serviceLifecycle,
        logging,
      ],
      swiftSettings: strict
    ),

    // What a program needs to talk to a coordinator.
    .target(name: "Client", dependencies: ["Wire", "Platform"], swiftSettings: strict),

    // What starts pipelines: placement, measurements, private pipelines. It knows no backend.
    .target(
      name: "Launch",
      dependencies: [
        "Coordinator", "Worker", "Gemma", "ModelFiles", "Wire", "Compute", "Content", "Platform",
        "CLinux", logging,
      ],
      swiftSettings: strict
    ),

    // The two roles. Neither imports the other, nor a backend.
    .target(
      name: "Coordinator",
      dependencies: [
        "Wire", "Gemma", "Grammar", "ModelFiles", "Compute", "Content", "Platform", "CLinux",
        logging,
      ],
      swiftSettings: strict
    ),
    .target(
      name: "Worker",
      dependencies: [
        "Wire", "Gemma", "ModelFiles", "Compute", "Content", "Platform", "CLinux", logging,
      ],
      swiftSettings: strict
    ),

    // What is exchanged, what is modelled, what can be computed.
    .target(
      name: "Wire",
      dependencies: ["WireMessages", "CZeroMQ", "Content", "Platform", "CSocketGuard", "CLinux"],
      swiftSettings: strict
    ),
    .target(
      name: "Gemma",
      dependencies: ["ModelFiles", "Compute", "Content", "Platform"],
      swiftSettings: strict
    ),
    // From a model file to a smaller one, and how far apart the two are. Debug builds optimise it, too: tests
    // compare a hundred million logits.
    .target(
      name: "Quantization",
      dependencies: [
        "QuantiseKernels", "CCalibrationText", "Gemma", "ModelFiles", "Compute", "Content",
        "Platform",
      ],
      swiftSettings: strict + [.unsafeFlags(["-O"], .when(configuration: .debug))]
    ),
    // What answers may be: schemas and grammars to masks of tokens. Debug builds optimise it, too: tests walk
    // thousands of random answers.
    .target(
      name: "Grammar",
      swiftSettings: strict + [.unsafeFlags(["-O"], .when(configuration: .debug))]
    ),
    // The array of an NPU: assembler, compiler and simulator. Debug builds optimise it, too: tests simulate millions
    // of cycles.
    .target(
      name: "NPUArray",
      swiftSettings: strict + [.unsafeFlags(["-O"], .when(configuration: .debug))]
    ),
    // Model files of any model: formats read and written, and which file is which.
    .target(
      name: "ModelFiles",
      dependencies: ["Compute", "Content", "Platform", "CLinux"],
      swiftSettings: strict
    ),
    // Debug builds optimise it, too: tests compute with the reference backend, which takes most of their time
    // otherwise.
    .target(
      name: "Compute",
      swiftSettings: strict + [.unsafeFlags(["-O"], .when(configuration: .debug))]
    ),
    // What the operating system gives: threads, locks, clocks, memory.
    .target(name: "Platform", dependencies: ["CLinux"], swiftSettings: strict),
    // Models by name: what a hub has, fetched into the cache that other programs share.
    .target(
      name: "Hub",
      dependencies: ["ModelFiles", "Content", "Platform", "CCurl"],
      swiftSettings: strict
    ),
    // What bytes are: their digests, as files have them and as messages carry them.
    .target(name: "Content", dependencies: ["CSodium"], swiftSettings: strict),

    // Backends: each knows Compute and its own silicon.
    .target(
      name: "CPUBackend",
      dependencies: ["Compute", "CPUKernels"],
      swiftSettings: strict
    ),

    // An NPU: its driver's requests, and the backend that has its array multiply. It is the CPU's with another product.
    .target(
      name: "NPUDriver",
      dependencies: ["CAMDXDNA"],
      swiftSettings: strict
    ),
    .target(
      name: "NPUBackend",
      dependencies: ["CPUBackend", "NPUDriver", "NPUArray", "NPUKernels", "Compute", "Platform"],
      swiftSettings: strict
    ),
    // The kernel's driver of an NPU, with a simulated array behind it. Debug builds optimise it, too: it copies what
    // the array reads.
    .target(
      name: "NPUFake",
      dependencies: ["NPUDriver", "NPUArray", "CAMDXDNA", "Platform", "CLinux"],
      swiftSettings: strict + [.unsafeFlags(["-O"], .when(configuration: .debug))]
    ),

    // What every backend must do: for its tests, and for `doctor` on machines that have what ours have not. Debug
    // builds optimise it, too: half of the tests' time would go into random weights.
    .target(
      name: "BackendConformance",
      dependencies: ["Compute"],
      swiftSettings: strict + [.unsafeFlags(["-O"], .when(configuration: .debug))]
    ),
    .target(
      name: "VulkanBackend",
      dependencies: ["Compute", "CVulkan", "VulkanKernels"],
      swiftSettings: strict
    ),

    // C leaves.
    .target(
      name: "CPUKernels",
      path: "kernels/cpu",
      // SwiftPM compiles C with -O0 in debug builds; the kernels, and so the tests, would run
      // 14 times slower. Numerics rely on -ffp-contract=off: a fused multiply-add is written
      // where it is meant, so every instruction set rounds where the source says.
      cSettings: [.unsafeFlags(["-O3", "-ffp-contract=off"])]
    ),
    // From f32 to the types of GGUF.
    .target(
      name: "QuantiseKernels",
      path: "kernels/quantise",
      cSettings: [.unsafeFlags(["-O3", "-ffp-contract=off"])]
    ),
    // Shaders, as SPIR-V that scripts/compile-shaders makes, and the packing of weights for them.
    .target(
      name: "VulkanKernels",
      path: "kernels/vulkan",
      sources: ["pack.c", "shaders.c", "shader_names.c"],
      // #embed is C23; packing takes minutes with -O0.
      cSettings: [.unsafeFlags(["-O3", "-Wno-c23-extensions"])]
    ),
    // Programs of the cores of an NPU's array, as text.
    .target(
      name: "NPUKernels",
      path: "kernels/npu",
      exclude: ["README.md", "INT4.md", "copy.aie2s", "int8_block.aie2s", "gemm_int8.aie2s"],
      sources: ["sources.c"],
      cSettings: [.unsafeFlags(["-Wno-c23-extensions"])]
    ),
    .target(
      name: "WireMessages",
      path: "proto",
      linkerSettings: [.linkedLibrary("protobuf-c")]
    ),
    // The front door's web page, and the description of its interface.
    .target(
      name: "ServerPage",
      exclude: ["index.html", "openapi.json"],
      cSettings: [.unsafeFlags(["-Wno-c23-extensions"])]
    ),
    // The text that models are calibrated with.
    .target(
      name: "CCalibrationText",
      exclude: ["calibration.txt", "README.md"],
      cSettings: [.unsafeFlags(["-Wno-c23-extensions"])]
    ),
    .systemLibrary(name: "CZeroMQ"),
    .systemLibrary(name: "CSodium"),
    .systemLibrary(name: "CCurl"),
    .target(name: "CLinux"),
    .target(name: "CVulkan"),
    .target(name: "CSocketGuard"),
    .target(name: "CAMDXDNA"),

    // What scripts/compare-with-llguidance talks to.
    .executableTarget(name: "GrammarLab", dependencies: ["Grammar"], swiftSettings: strict),

    // Tests.
    // A device that there is not: what a new backend has to bring.
    .target(
      name: "FakeGPUBackend",
      dependencies: ["Compute"],
      path: "Tests/FakeGPUBackend",
      swiftSettings: strict
    ),
    .target(
      name: "TestSupport",
      dependencies: ["Compute", "Gemma", "ModelFiles"],
      path: "Tests/TestSupport",
      swiftSettings: strict
    ),
    // A worker that computes until it is told to lie: the peer of scripts/torment. No user gets it.
    .executableTarget(
      name: "HostileWorker",
      dependencies: ["Worker", "CPUBackend", "Gemma", "Compute", "Wire", argumentParser],
      path: "Tests/HostileWorker",
      swiftSettings: strict
    ),
    // An NPU for the program that users get, as it is: it finds a driver's node, and talks to the process that started
    // it. The library is loaded before others, and linked into nothing.
    .executableTarget(
      name: "NPUFakeRunner",
      dependencies: ["NPUFake"],
      path: "Tests/NPUFakeRunner",
      swiftSettings: strict
    ),
    .target(name: "CNPUPreload", path: "Tests/CNPUPreload"),
    .testTarget(
      name: "ComputeTests",
      dependencies: ["Compute", "BackendConformance", "FakeGPUBackend", "TestSupport"],
      swiftSettings: strict
    ),
    .testTarget(
      name: "ModelFilesTests",
      dependencies: ["ModelFiles", "Compute", "TestSupport"],
      swiftSettings: strict
    ),
    .testTarget(
      name: "GemmaTests",
      dependencies: ["Gemma", "ModelFiles", "Compute", "Content", "CLinux", "TestSupport"],
      swiftSettings: strict
    ),
    .testTarget(
      name: "CPUBackendTests",
      dependencies: [
        "CPUBackend", "CPUKernels", "Gemma", "ModelFiles", "Compute", "BackendConformance",
        "TestSupport",
      ],
      swiftSettings: strict
    ),
    .testTarget(
      name: "VulkanBackendTests",
      dependencies: [
        "VulkanBackend", "CVulkan", "VulkanKernels", "CPUBackend", "Gemma", "ModelFiles", "Compute",
        "BackendConformance", "TestSupport",
      ],
      swiftSettings: strict
    ),
    .testTarget(
      name: "QuantizationTests",
      dependencies: [
        "Quantization", "QuantiseKernels", "CPUBackend", "Gemma", "ModelFiles", "Compute",
        "Content",
        "TestSupport",
      ],
      swiftSettings: strict
    ),
    .testTarget(
      name: "HubTests",
      dependencies: ["Hub", "ModelFiles", "Content", "TestSupport"],
      swiftSettings: strict
    ),
    .testTarget(name: "GrammarTests", dependencies: ["Grammar"], swiftSettings: strict),
    .testTarget(
      name: "NPUArrayTests",
      dependencies: ["NPUArray", "TestSupport"],
      swiftSettings: strict
    ),
    .testTarget(
      name: "NPUFakeTests",
      dependencies: ["NPUFake", "NPUArray", "CAMDXDNA", "TestSupport"],
      swiftSettings: strict
    ),
    .testTarget(
      name: "NPUBackendTests",
      dependencies: [
        "NPUBackend", "NPUDriver", "NPUFake", "NPUArray", "CPUBackend", "Gemma", "ModelFiles",
        "Compute", "Platform", "BackendConformance", "TestSupport",
      ],
      swiftSettings: strict
    ),
    .testTarget(
      name: "ServerTests",
      dependencies: [
        "Server", "Gemma", "Grammar", "ModelFiles", "Wire", "Content", "Platform", "TestSupport",
        httpTypes,
      ],
      swiftSettings: strict
    ),
    .testTarget(
      name: "PlatformTests",
      dependencies: ["Platform", "TestSupport"],
      swiftSettings: strict
    ),
    .testTarget(
      name: "WireTests",
      dependencies: ["Wire", "Content", "Platform", "CZeroMQ", "TestSupport"],
      swiftSettings: strict
    ),
    .testTarget(
      name: "WorkerTests",
      dependencies: [
        "Worker", "Wire", "Gemma", "ModelFiles", "Compute", "Content", "Platform",
        "FakeGPUBackend", "TestSupport", logging,
      ],
      swiftSettings: strict
    ),
    .testTarget(
      name: "CoordinatorTests",
      dependencies: [
        "Coordinator", "Worker", "Wire", "Gemma", "ModelFiles", "Compute", "Content", "Platform",
        "FakeGPUBackend", "TestSupport", logging,
      ],
      swiftSettings: strict
    ),
    .testTarget(
      name: "TrestleTests",
      dependencies: [
        "trestle", "Client", "Launch", "Worker", "CPUBackend", "Gemma", "Wire", "Compute",
        "Content", "Platform", logging,
      ],
      swiftSettings: strict
    ),
    .testTarget(
      name: "ClientTests",
      dependencies: ["Client", "Wire", "Content", "Platform", "TestSupport"],
      swiftSettings: strict
    ),
    .testTarget(
      name: "LaunchTests",
      dependencies: [
        "Launch", "Client", "Coordinator", "Worker", "CPUBackend", "NPUBackend", "NPUFake", "Gemma",
        "ModelFiles", "Wire", "Compute", "Content", "Platform", "FakeGPUBackend", "TestSupport",
        logging,
      ],
      swiftSettings: strict
    ),
    .testTarget(
      name: "IntegrationTests",
      dependencies: ["Wire", "Content", "Platform", "CZeroMQ", "TestSupport"],
      swiftSettings: strict
    ),
    .testTarget(name: "TidyTests", dependencies: ["TestSupport"], swiftSettings: strict),
  ],
  cLanguageStandard: .c17
)

// TRESTLE_TEST_TARGETS=WireTests,GemmaTests leaves these and what they need: scripts/sanitize builds no
// more than it runs.
if let names = Context.environment["TRESTLE_TEST_TARGETS"] {
  var kept: Set<String> = []
  var next = names.split(separator: ",").map(String.init)
  while let name = next.popLast() {
    guard kept.insert(name).inserted else { continue }
    for target in package.targets where target.name == name {
      next += target.dependencies.compactMap { dependency in
        switch dependency {
        case .targetItem(let name, _), .byNameItem(let name, _): name
        default: nil
        }
      }
    }
  }
  package.targets.removeAll { !kept.contains($0.name) }
  package.products.removeAll()
}
