// A library to be loaded before a program's others (LD_PRELOAD): the program finds an NPU, whose kernel is the process
// that listens on the Unix socket named by TRESTLE_NPU_FAKE. Without that variable it changes nothing.
//
// It offers no functions of its own: it stands before open, ioctl, mmap and others of the C library. What is exchanged
// on the socket, of the kind SOCK_SEQPACKET, is below; the other side is in Sources/npu-fake.
#ifndef CNPUPRELOAD_H
#define CNPUPRELOAD_H

#include <stdint.h>

// From the program. The kernel's first message, an NPU_PRELOAD_DONE, brings the file with all buffers' pages.
enum {
  NPU_PRELOAD_REQUEST = 1,   // value: the request; address: of its structure
  NPU_PRELOAD_MAPPED = 2,    // offset and count: of the file; address: where
  NPU_PRELOAD_UNMAPPED = 3,  // address: where it was
  NPU_PRELOAD_ANSWER = 4,    // to READ, followed by the bytes, and to WRITE; value: 0 or an error
};

// From the kernel. Every message of the program but answers ends with DONE; before that the kernel may order the
// program to read and write its own memory.
enum {
  NPU_PRELOAD_READ = 5,   // count bytes at address
  NPU_PRELOAD_WRITE = 6,  // at address, the bytes that follow
  NPU_PRELOAD_DONE = 7,   // value: 0 or an error
};

struct npu_preload_message {
  uint32_t kind, value;
  uint64_t address, offset, count;
};

// The most bytes that follow a message.
enum { NPU_PRELOAD_BYTES = 1 << 16 };

#endif
