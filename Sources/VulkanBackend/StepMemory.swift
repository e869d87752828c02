// Where the row buffers, the scratch and the constants of an executable are: first only as places, then,
// when all are known, in buffers of the device.

internal import CVulkan
internal import Compute

/// A memory of an executable.
enum Area: Int, Hashable, Sendable, CaseIterable {
  /// What the host writes in every step: rows, inputs, looked-up rows, rotations.
  case upload
  /// What only kernels use.
  case working
  /// Gains and small weights as f32, written once.
  case constants
}

/// A part of an area.
struct Place: Hashable, Sendable {
  var area: Area
  var bytes: Range<Int>
}

/// What a kernel's binding refers to.
enum Binding: Sendable {
  case place(Place)
  case buffer(DeviceBuffer)
}

/// A plane of rows: its place, and its region for hazards.
struct RowPlane: Sendable {
  var region: Region
  var place: Place
  var width: Int
  var rows: RowSet

  var binding: Binding { .place(place) }
}

/// The int8 copy of a plane.
struct QuantisedPlane: Sendable {
  var region: Region
  var quants: Place
  var scales: Place
}

/// The places of an executable.
struct StepMemory {
  private let program: Program
  private let limits: ExecutableLimits
  private let maxRangeBytes: Int
  private(set) var byteCounts: [Area: Int] = [:]
  private var buffers: [Int: [Place]] = [:]
  private var scratch: [ScratchKey: (index: Int, places: [Place])] = [:]
  private var quantised: [Region: QuantisedPlane] = [:]
  /// The values of the constants' area.
  private(set) var constants: [Float] = []

  private struct ScratchKey: Hashable {
    var name: String
    var planes: Int
    var width: Int
    var rows: RowSet
  }

  /// Every place begins at a multiple of it, which is at least what any device asks for.
  private static let alignment = 256

  init(program: Program, limits: ExecutableLimits, maxRangeBytes: Int) {
    self.program = program
    self.limits = limits
    self.maxRangeBytes = maxRangeBytes
  }

  /// Returns a new place.
  ///
  /// - Throws: `ComputeError` with code `memory` if it is larger than one binding may be.
  mutating func place(
    _ area: Area,
    byteCount: Int,
    purpose: @autoclosure () -> String
  ) throws(ComputeError) -> Place {
    guard byteCount <= maxRangeBytes else {
      throw ComputeError(
        .memory,
        "\(byteCount) bytes for \(purpose()), but a kernel of this device reaches \(maxRangeBytes); "
          + "take fewer rows a step, fewer sessions or less context"
      )
    }
    let start = byteCounts[area, default: 0]
    let size = (max(byteCount, 4) + Self.alignment - 1) / Self.alignment * Self.alignment
    byteCounts[area] = start + size
    return Place(area: area, bytes: start..<(start + max(byteCount, 4)))
  }

  /// Returns the planes of a row buffer of the program: [maxRows, width] f32 each, next to each other.
  private mutating func planes(_ id: BufferID) throws(ComputeError) -> [Place] {
    if let known = buffers[id.index] { return known }
    let buffer = program[id]
    let isHostWritten =
      program.inputs.contains(id)
      || program.ops.contains { op in
        if case .embed(let embed) = op { embed.output == id } else { false }
      }
    let places = try planes(
      isHostWritten ? .upload : .working,
      count: buffer.planes,
      width: buffer.width,
      name: buffer.name
    )
    buffers[id.index] = places
    return places
  }

  private mutating func planes(
    _ area: Area,
    count: Int,
    width: Int,
    name: String
  ) throws(ComputeError) -> [Place] {
    let planeByteCount = limits.maxRows * width * MemoryLayout<Float>.stride
    let whole = try place(area, byteCount: count * planeByteCount, purpose: "the rows of \(name)")
    return (0..<count).map { plane in
      let start = whole.bytes.lowerBound + plane * planeByteCount
      return Place(area: area, bytes: start..<(start + planeByteCount))
    }
  }

  /// Returns a plane of a row buffer of the program.
  mutating func plane(_ plane: Plane) throws(ComputeError) -> RowPlane {
    RowPlane(
      region: Region(plane),
      place: try planes(plane.buffer)[plane.index],
      width: program[plane.buffer].width,
      rows: program[plane.buffer].rows
    )
  }

  /// Returns all planes of a buffer of the program as one place, and their regions.
  mutating func wholeBuffer(
    _ id: BufferID
  ) throws(ComputeError) -> (place: Place, regions: [Region]) {
    (
      Self.joined(try planes(id)),
      (0..<program[id].planes).map { Region(Plane(id, $0)) }
    )
  }

  private static func joined(_ places: [Place]) -> Place {
    let start = places[0].bytes.lowerBound
    return Place(area: places[0].area, bytes: start..<places[places.count - 1].bytes.upperBound)
  }

  /// How far one plane of a width is from the next, in values.
  func planeStride(width: Int) -> Int { limits.maxRows * width }

  /// Returns the planes of a buffer that ops reuse, one for each name and shape, and all as one place.
  mutating func scratch(
    _ name: String,
    planes: Int = 1,
    width: Int,
    rows: RowSet
  ) throws(ComputeError) -> (planes: [RowPlane], whole: Place) {
    let key = ScratchKey(name: name, planes: planes, width: width, rows: rows)
    if scratch[key] == nil {
      let places = try self.planes(.working, count: planes, width: width, name: name)
      scratch[key] = (scratch.count, places)
    }
    guard let (index, places) = scratch[key] else { preconditionFailure("\(key) was just added") }
    let all = places.enumerated().map { part, place in
      RowPlane(
        region: Region(space: .scratch, index: index, part: part),
        place: place,
        width: width,
        rows: rows
      )
    }
    return (all, Self.joined(places))
  }

  /// Returns the int8 copy of a plane.
  mutating func quantised(_ plane: RowPlane) throws(ComputeError) -> QuantisedPlane {
    if let known = quantised[plane.region] { return known }
    let count = limits.maxRows * plane.width
    let new = QuantisedPlane(
      region: plane.region.quantised,
      quants: try place(.working, byteCount: count, purpose: "int8 activations"),
      // A scale and two sums for a block of 32.
      scales: try place(.working, byteCount: count / 32 * 8, purpose: "scales of activations")
    )
    quantised[plane.region] = new
    return new
  }

  /// Returns the place of new constants.
  mutating func constants(_ values: [Float]) throws(ComputeError) -> Place {
    let size = MemoryLayout<Float>.stride
    let new = try place(.constants, byteCount: values.count * size, purpose: "constants")
    constants += Array(repeating: 0, count: new.bytes.lowerBound / size - constants.count)
    constants += values
    return new
  }
}
