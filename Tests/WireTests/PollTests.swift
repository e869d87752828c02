// Polling: for messages, descriptors, free queue space and timeouts, whichever comes first.

import Foundation
import Glibc
import Platform
import Testing
import TestSupport
import Wire

@Suite struct `Poll` {
  /// Calls the body with the two ends of a pipe.
  private func withPipe(_ body: (_ reader: CInt, _ writer: inout CInt) throws -> Void) throws {
    var ends: [CInt] = [-1, -1]
    try #require(unsafe pipe(&ends) == 0)
    defer {
      close(ends[0])
      if ends[1] >= 0 { close(ends[1]) }
    }
    try body(ends[0], &ends[1])
  }

  @Test func `with nothing to come it ends when the time is up`() throws {
    let context = try ZeroMQContext()
    let socket = try Socket(context, role: .router)
    try withPipe { reader, _ in
      let start = ContinuousClock.now
      let ready = try poll(
        sockets: [socket],
        descriptors: [reader],
        timeout: .microseconds(20_500)
      )
      #expect(ready.isEmpty)
      #expect(ContinuousClock.now - start >= .microseconds(20_500))
      #expect(try poll(sockets: [], timeout: .zero).isEmpty)
      #expect(try poll(sockets: [socket], timeout: .seconds(-5)).isEmpty)
    }
  }

  @Test func `it tells which socket and which descriptor are ready`() throws {
    try withTemporaryDirectory { directory in
      let context = try ZeroMQContext()
      let endpoint = try Endpoint("ipc://\(directory)/s")
      let router = try Socket(context, role: .router)
      let idle = try Socket(context, role: .router)
      let dealer = try Socket(context, role: .dealer)
      try router.bind(endpoint)
      try dealer.connect(endpoint)
      try withPipe { reader, writer in
        _ = try dealer.send(ping(1))
        let first = try poll(sockets: [idle, router], descriptors: [reader], timeout: .seconds(10))
        #expect(first.contains(router))
        #expect(!first.contains(idle))
        #expect(!first.contains(descriptor: reader))
        #expect(try router.receive() != nil)
        var byte: UInt8 = 1
        #expect(unsafe write(writer, &byte, 1) == 1)
        let second = try poll(
          sockets: [idle, router],
          descriptors: [reader],
          timeout: .seconds(10)
        )
        #expect(second.contains(descriptor: reader))
        #expect(!second.contains(router))
      }
    }
  }

  @Test func `the other end of a descriptor going away counts as ready`() throws {
    try withPipe { reader, writer in
      close(writer)
      writer = -1
      let ready = try poll(sockets: [], descriptors: [reader], timeout: .seconds(10))
      #expect(ready.contains(descriptor: reader))
    }
  }

  @Test func `a signal ends the wait with nothing ready`() throws {
    // Without SA_RESTART, so that the signal interrupts the system call.
    var action = sigaction()
    unsafe action.__sigaction_handler.sa_handler = { _ in }
    var before = sigaction()
    try #require(unsafe sigaction(SIGUSR2, &action, &before) == 0)
    defer { unsafe sigaction(SIGUSR2, &before, nil) }
    // Threads of a pool have signals blocked.
    var signals = sigset_t()
    unsafe sigemptyset(&signals)
    unsafe sigaddset(&signals, SIGUSR2)
    unsafe pthread_sigmask(SIG_UNBLOCK, &signals, nil)
    defer { unsafe pthread_sigmask(SIG_BLOCK, &signals, nil) }
    let waiting = pthread_self()
    let isDone = Lock(false)
    // The signal is repeated, because one may arrive before the wait begins.
    let signaller = Foundation.Thread {
      while !isDone.withLock({ $0 }) {
        pthread_kill(waiting, SIGUSR2)
        usleep(20_000)
      }
    }
    signaller.start()
    let context = try ZeroMQContext()
    let socket = try Socket(context, role: .router)
    let start = ContinuousClock.now
    let ready = try poll(sockets: [socket], timeout: .seconds(30))
    isDone.withLock { $0 = true }
    while !signaller.isFinished { usleep(1000) }
    #expect(ready.isEmpty)
    #expect(ContinuousClock.now - start < .seconds(20))
  }
}
