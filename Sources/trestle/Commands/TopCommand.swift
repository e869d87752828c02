// `trestle top`: a live view of the pipeline.

import ArgumentParser
import Client
import Launch
import Wire

struct TopCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "top",
    abstract: "Watch the pipeline live, until Ctrl-C.",
    discussion: """
      Redraws twice a second. Busy is the share of the last five seconds in which the stage computed, \
      bubble the share in which it was idle although the pipeline had work. The queue is how many \
      micro-batches waited at the stage on average. Latencies are those of the last minute. \
      NO_COLOR=1 turns colours off.
      """
  )

  @Flag(help: "Print one frame and end.")
  var once = false

  @Flag(help: "Print one JSON document per line, each like that of `status --json`.")
  var json = false

  @OptionGroup var coordinator: ClientOptions

  private static let interval = Duration.milliseconds(500)

  func run() throws {
    try reportingFailures {
      let interrupt = try signalDescriptor()
      let waiter = try Waiter(interruptedBy: interrupt)
      let client = try coordinator.connect()
      defer { client.close() }
      let isLive = Terminal.isPresent && !once && !json
      // The first request comes before the alternate screen, so that an error is printed on the
      // normal one.
      var status = try waiter.wait { try await client.status() }
      if isLive { try printOut(Terminal.enter, terminator: "") }
      // If stdout has been closed, the screen need not be restored, and the error is ignored.
      defer { if isLive { try? printOut(Terminal.leave, terminator: "") } }
      while true {
        try show(status, isLive: isLive)
        if once { return }
        let ready = try poll(sockets: [], descriptors: [interrupt], timeout: Self.interval)
        if ready.contains(descriptor: interrupt) { return }
        do { status = try waiter.wait { try await client.status() } } catch is Interrupted {
          return
        }
      }
    }
  }

  private func show(_ status: StatusReply, isLive: Bool) throws {
    if json {
      try printOut(try trestle.json(StatusDocument(status)))
      return
    }
    let size = Terminal.size
    let frame = TopFrame(status, width: size.width, hasColours: Terminal.hasColours)
    if isLive {
      try printOut(Terminal.redraw(Array(frame.lines.prefix(size.height - 1))), terminator: "")
    } else {
      try printOut(frame.lines.joined(separator: "\n") + (once ? "" : "\n"))
    }
  }
}
