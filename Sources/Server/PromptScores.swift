// How likely the model holds each token of a prompt to be, for programs that measure models by it. The pipeline
// gives logits, so nothing but the front door knows what is asked of them.

internal import Client
internal import Gemma
internal import Glibc
internal import Wire

/// A prompt that is told back, with its likelihoods where they are wanted.
struct Echo: Sendable {
  var text: String
  /// By position; nil without likelihoods.
  ///
  /// The first has none: nothing comes before it.
  var scored: [DrawnToken]?
}

extension FrontDoor {
  /// Returns the log probability of each token of a prompt, and the likeliest in its place.
  ///
  /// The first has the log probability 0 and no others.
  ///
  /// - Throws: `APIError` if the prompt cannot be run.
  func scores(of tokens: [Int32], likeliest count: Int) async throws -> [DrawnToken] {
    var scored = tokens.prefix(1).map { DrawnToken(drawn: score($0, 0), likeliest: []) }
    guard tokens.count > 1 else { return scored }
    do {
      for try await part in client.evaluate(Array(tokens.dropLast()), .logits) {
        for logits in part.rows {
          scored.append(drawn(tokens[scored.count], logits, likeliest: count))
        }
      }
    } catch let error as ClientError {
      throw APIError(error)
    }
    return scored
  }

  private func drawn(
    _ token: Int32,
    _ logits: ArraySlice<Float>,
    likeliest count: Int
  ) -> DrawnToken {
    let largest = Double(logits.max() ?? 0)
    let sum = logits.reduce(into: 0.0) { $0 += exp(Double($1) - largest) }
    let base = largest + log(sum)
    let first = logits.startIndex
    let best = logits.indices.sorted(by: logits, count)
    return DrawnToken(
      drawn: score(token, Double(logits[first + Int(token)]) - base),
      likeliest: best.map { score(Int32($0 - first), Double(logits[$0]) - base) }
    )
  }

  private func score(_ token: Int32, _ logProbability: Double) -> ScoredToken {
    ScoredToken(
      token: token,
      logProbability: logProbability,
      piece: model.tokenizer.bytes(of: token) ?? [],
      isSpecial: model.tokenizer.isSpecial(token)
    )
  }
}

extension Range<Int> {
  /// Returns the indices of the largest values, the lower index first among equals.
  fileprivate func sorted(by values: ArraySlice<Float>, _ count: Int) -> [Int] {
    var best: [Int] = []
    guard count > 0 else { return best }
    for index in self where best.count < count || values[index] > values[best[best.count - 1]] {
      let place = best.firstIndex { values[$0] < values[index] } ?? best.count
      best.insert(index, at: place)
      if best.count > count { best.removeLast() }
    }
    return best
  }
}
