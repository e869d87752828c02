// Devices that are alike, as the search for a placement sees them: which one of a group is used makes no
// difference, so a set of used devices is only how many there are of each group.

/// The devices by groups of alike ones, and numbers for the sets of used devices.
///
/// A set is the number whose digit of a group, in the base of the group's size plus one, counts its used devices.
/// The first ones of a group are used first.
struct DeviceGroups {
  /// The devices of each group, in their order; groups in the order of their first devices.
  let members: [[Int]]
  /// What a device of a group adds to the number of a set.
  private let steps: [Int]
  /// How many sets there are; the most that a number holds if there are more.
  let setCount: Int

  init(_ costs: PipelineCosts) {
    var members: [[Int]] = []
    for device in costs.devices.indices {
      if let group = members.firstIndex(where: { costs.areAlike($0[0], device) }) {
        members[group].append(device)
      } else {
        members.append([device])
      }
    }
    var (steps, setCount) = ([Int](), 1)
    for group in members {
      steps.append(setCount)
      let product = setCount.multipliedReportingOverflow(by: group.count + 1)
      setCount = product.overflow ? .max : product.partialValue
    }
    (self.members, self.steps, self.setCount) = (members, steps, setCount)
  }

  /// Returns the device of a group that is used next; nil if a set has all of them.
  func next(_ group: Int, in set: Int) -> Int? {
    let used = set / steps[group] % (members[group].count + 1)
    return used < members[group].count ? members[group][used] : nil
  }

  /// Returns a set with one more device of a group.
  func adding(_ group: Int, to set: Int) -> Int { set + steps[group] }
}
