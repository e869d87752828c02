// Numbers of bytes as people read them.

/// Formats a number of bytes: 1.2 GiB, 340 MiB, 12.0 KiB.
package func describe(bytes: UInt64) -> String {
  let units = ["B", "KiB", "MiB", "GiB", "TiB"]
  var unit = 0
  var whole = Double(bytes)
  while whole >= 1024, unit + 1 < units.count {
    whole /= 1024
    unit += 1
  }
  guard unit > 0, whole < 100 else { return "\(Int(whole)) \(units[unit])" }
  let tenths = Int((whole * 10).rounded())
  return "\(tenths / 10).\(tenths % 10) \(units[unit])"
}
