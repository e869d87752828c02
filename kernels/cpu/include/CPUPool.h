// Steps, calls, and the pool of threads that runs a list of calls.
#ifndef CPU_POOL_H
#define CPU_POOL_H

#include <stdbool.h>
#include <stdint.h>

// --- Steps and calls -----------------------------------------------------------------------------

// One token of one session in a step.
typedef struct {
  int32_t slot;
  int32_t position;
  int32_t token;
} cpu_row;

// The two sets of rows that a buffer may hold.
enum { CPU_ROWS_ALL = 0, CPU_ROWS_WANTED = 1 };

// The data that is different in each step.
typedef struct {
  const cpu_row *rows[2];  // by row set
  int32_t counts[2];       // by row set
  const int32_t *wanted;   // [counts[WANTED]] indices into rows[ALL]
  uint8_t *scratch;        // [threads, scratch_bytes], 64-byte aligned
  int64_t scratch_bytes;   // enough for every call: cpu_..._scratch
} cpu_step;

// Runs the share of thread number `thread`, of `threads` in all, of a call.
typedef void (*cpu_kernel)(const void *args, const cpu_step *step, int thread, int threads);

typedef struct {
  cpu_kernel run;
  const void *args;
  // Whether all threads must have finished the previous calls (a barrier). It is not needed if each
  // thread reads only what it has written itself, because kernels that are split over the same
  // things are split in the same way.
  bool waits;
} cpu_call;

// --- The pool ------------------------------------------------------------------------------------

typedef struct cpu_pool cpu_pool;

// Starts `threads` - 1 threads; the caller of cpu_pool_run is thread 0. With `cpus`, thread i is
// pinned to CPU cpus[i], the caller included. Returns NULL with errno set on failure.
cpu_pool *cpu_pool_create(int threads, const int *cpus);

// Runs the calls in order, each on all threads. Concurrent callers wait for each other.
void cpu_pool_run(cpu_pool *pool, const cpu_call *calls, int64_t count, const cpu_step *step);

// Ends and joins the threads. No run may be in progress.
void cpu_pool_destroy(cpu_pool *pool);

#endif
