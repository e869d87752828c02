// What a cache says it still has, against a model that keeps every place of the ring.

import Compute
import TestSupport
import Testing

@Suite struct `Held positions` {
  /// A ring that remembers which position was written last at each place.
  private struct Ring {
    var places: [Int?]

    mutating func write(_ position: Int) { places[position % places.count] = position }

    func holds(_ positions: Range<Int>) -> Bool {
      positions.allSatisfy { places[$0 % places.count] == $0 }
    }
  }

  @Test func `a ring that came round has its last positions`() {
    var held = HeldPositions(capacity: 6)
    for first in stride(from: 0, to: 12, by: 3) { held.append(first..<(first + 3)) }
    #expect(held.range == 6..<12)
    held.keep(upTo: 10)
    #expect(held.range == 6..<10)
    held.append(10..<11)
    #expect(held.range == 6..<11)
    held.append(11..<14)
    #expect(held.range == 8..<14)
    held.keep(upTo: 3)
    #expect(held.range.isEmpty)
    held.append(3..<4)
    #expect(held.range == 3..<4)
  }

  @Test func `rows put in place join what they touch and replace the rest`() {
    var held = HeldPositions(capacity: 6)
    #expect(held.put(4..<8) == 4..<8)
    #expect(held.put(2..<4) == 2..<4)
    #expect(held.range == 2..<8)
    // No room for those before the last six.
    #expect(held.put(0..<3) == 2..<3)
    #expect(held.put(7..<10) == 7..<10)
    #expect(held.range == 4..<10)
    #expect(held.put(20..<30) == 24..<30)
    #expect(held.range == 24..<30)
    #expect(held.put(1..<1).isEmpty)
    #expect(held.range == 24..<30)
    #expect(held.contains(25..<30) && held.contains(3..<3) && !held.contains(23..<25))
    held.clear()
    #expect(held.range.isEmpty)
  }

  @Test(.seeded(default: 5)) func `what is said to be held is what the ring has`() {
    var random = SeededRandom(testSeed(default: 5))
    for _ in 0..<200 {
      let capacity = Int.random(in: 1...9, using: &random)
      var held = HeldPositions(capacity: capacity)
      var ring = Ring(places: Array(repeating: nil, count: capacity))
      for _ in 0..<40 {
        let first = Int.random(in: 0...20, using: &random)
        let positions = first..<(first + Int.random(in: 1...12, using: &random))
        switch Int.random(in: 0..<3, using: &random) {
        case 0:
          held.append(positions)
          for position in positions { ring.write(position) }
        case 1:
          for position in held.put(positions) { ring.write(position) }
        default:
          held.keep(upTo: first)
          #expect(held.range.upperBound <= max(first, held.range.lowerBound))
          #expect(held.range.isEmpty || held.range.upperBound <= first)
        }
        #expect(held.range.count <= capacity)
        #expect(ring.holds(held.range), "\(held.range) of \(ring.places)")
      }
    }
  }
}
