// Requests to move layers while the pipeline runs. CoordinatorMachine+Move.swift has the move itself.

internal import Gemma
internal import Wire

extension CoordinatorMachine {
  /// Moves layers as a client asks: to a split of its choice, or to the fastest there is.
  mutating func rebalance(_ rebalance: Rebalance, _ peer: PeerID) {
    let request = MoveRequest(peer: peer, request: rebalance.request)
    guard mayMove(request) else { return }
    do throws(CoordinatorError) {
      let next =
        rebalance.split.isEmpty
        ? try possiblePlan(workerOrder) : try splitPlan(rebalance, on: workerOrder)
      startMove(next, request: request, drained: nil)
    } catch {
      refuse(request.request, peer, .invalid, error.message)
    }
  }

  /// Moves a worker's layers to the others and lets it go; one that others have replaced is forgotten.
  mutating func drain(_ drain: Drain, _ peer: PeerID) {
    let request = MoveRequest(peer: peer, request: drain.request)
    guard mayMove(request) else { return }
    guard workers.contains(drain.worker) else {
      if workers.forgetLoss(of: drain.worker) {
        finishMove(request, drained: nil, layersMoved: 0, kvBytes: 0, pause: .zero)
        return
      }
      let known = workerOrder + replacedWorkers.map { "\($0.name) (lost)" }
      refuse(
        drain.request,
        peer,
        .invalid,
        "no worker is called \"\(drain.worker)\"; there are \(known.joined(separator: ", "))"
      )
      return
    }
    let names = workerOrder.filter { $0 != drain.worker }
    guard plan.contains(where: { $0.name == drain.worker }) else {
      finishMove(request, drained: drain.worker, layersMoved: 0, kvBytes: 0, pause: .zero)
      return
    }
    guard !names.isEmpty else {
      refuse(
        drain.request,
        peer,
        .invalid,
        "\(drain.worker) is the only worker; start another first"
      )
      return
    }
    do throws(CoordinatorError) {
      startMove(try possiblePlan(names), request: request, drained: drain.worker)
    } catch {
      refuse(drain.request, peer, .invalid, error.message)
    }
  }

  /// Whether a move may begin now; refuses the request if it may not.
  private mutating func mayMove(_ request: MoveRequest) -> Bool {
    if !epoch.isServing {
      refuse(
        request.request,
        request.peer,
        .busy,
        epoch.isGathering && !missingWorkers.isEmpty
          ? "the pipeline waits for \(missingWorkers.joined(separator: ", ")); start what is missing, and try again"
          : "the pipeline is not serving (\(epoch.phaseName)); try again when it is ready"
      )
      return false
    }
    if let move {
      refuse(
        request.request,
        request.peer,
        .busy,
        "epoch \(move.epoch) is being prepared already; try again when it runs"
      )
      return false
    }
    return true
  }
}
