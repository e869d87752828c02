// A pool of persistent threads that walk a list of calls together.
//
// Threads wait for work and at barriers in the same way: they spin on a counter for at most 20 µs
// and then sleep on it. Spinning covers the gap between two calls when every thread has a core of
// its own. Sleeping keeps the pool from becoming very slow when threads share cores.
#define _GNU_SOURCE
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "CPUKernels.h"

enum { SPIN_NANOSECONDS = 20000, CACHE_LINE = 64 };

// A counter that threads wait on to change.
typedef struct {
  _Alignas(CACHE_LINE) _Atomic uint32_t value;
  _Atomic uint32_t sleepers;
} eventcount;
_Static_assert(sizeof(_Atomic uint32_t) == sizeof(uint32_t), "futex(2) waits on 32 plain bits");

typedef struct {
  cpu_pool *pool;
  pthread_t thread;
  int index;
} member;

struct cpu_pool {
  eventcount job;      // advances when a job is posted
  eventcount barrier;  // advances when every thread has arrived
  _Alignas(CACHE_LINE) _Atomic uint32_t arrived;
  // The job; written by the caller before `job` advances, read by all after.
  const cpu_call *calls;
  int64_t count;
  const cpu_step *step;
  bool ends;
  int threads;
  int64_t spin_nanoseconds;
  int *cpus;  // [threads], NULL if not pinned
  pthread_t pinned_caller;
  bool has_pinned_caller;
  pthread_mutex_t turn;
  member *members;  // [threads], the first unused
};

static int64_t now_nanoseconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static inline void relax(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

static void eventcount_wait(eventcount *count, uint32_t seen, int64_t spin_nanoseconds) {
  if (spin_nanoseconds > 0) {
    int64_t deadline = 0;
    for (int round = 0;; round++) {
      if (atomic_load_explicit(&count->value, memory_order_acquire) != seen) return;
      relax();
      if (round % 16 != 15) continue;
      int64_t now = now_nanoseconds();
      if (deadline == 0) deadline = now + spin_nanoseconds;
      if (now >= deadline) break;
    }
  }
  // Sequentially consistent with eventcount_advance: either this thread sees the new value, or
  // eventcount_advance sees that this thread sleeps.
  atomic_fetch_add(&count->sleepers, 1);
  while (atomic_load(&count->value) == seen) {
    syscall(SYS_futex, &count->value, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
  }
  atomic_fetch_sub(&count->sleepers, 1);
}

static void eventcount_advance(eventcount *count) {
  atomic_fetch_add(&count->value, 1);
  if (atomic_load(&count->sleepers) > 0) {
    syscall(SYS_futex, &count->value, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
  }
}

static void barrier(cpu_pool *pool) {
  if (pool->threads == 1) return;
  uint32_t seen = atomic_load_explicit(&pool->barrier.value, memory_order_relaxed);
  uint32_t arrived = atomic_fetch_add_explicit(&pool->arrived, 1, memory_order_acq_rel) + 1;
  if (arrived == (uint32_t)pool->threads) {
    atomic_store_explicit(&pool->arrived, 0, memory_order_relaxed);
    eventcount_advance(&pool->barrier);
  } else {
    eventcount_wait(&pool->barrier, seen, pool->spin_nanoseconds);
  }
}

// Runs the posted job as one of its threads, up to the barrier after its last call.
static void work(cpu_pool *pool, int thread) {
  for (int64_t i = 0; i < pool->count; i++) {
    const cpu_call *call = &pool->calls[i];
    if (call->waits && i > 0) barrier(pool);
    call->run(call->args, pool->step, thread, pool->threads);
  }
  barrier(pool);
}

static void pin(pthread_t thread, int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  // If the CPU has gone offline or is not allowed, the thread runs unpinned.
  (void)pthread_setaffinity_np(thread, sizeof set, &set);
}

static void *thread_main(void *argument) {
  member *self = argument;
  cpu_pool *pool = self->pool;
  if (pool->cpus) pin(pthread_self(), pool->cpus[self->index]);
  for (uint32_t seen = 0;; seen++) {
    eventcount_wait(&pool->job, seen, pool->spin_nanoseconds);
    if (pool->ends) return NULL;
    work(pool, self->index);
  }
}

// Ends the threads 1 ..< started.
static void stop(cpu_pool *pool, int started) {
  pool->ends = true;
  eventcount_advance(&pool->job);
  for (int i = 1; i < started; i++) pthread_join(pool->members[i].thread, NULL);
  pthread_mutex_destroy(&pool->turn);
  free(pool->members);
  free(pool->cpus);
  free(pool);
}

// Spinning pays only if the threads can run at the same time.
static int64_t spin_for(int threads, const int *cpus) {
  cpu_set_t set;
  if (cpus) {
    CPU_ZERO(&set);
    for (int i = 0; i < threads; i++) CPU_SET(cpus[i], &set);
  } else if (sched_getaffinity(0, sizeof set, &set) != 0) {
    return SPIN_NANOSECONDS;
  }
  return threads <= CPU_COUNT(&set) ? SPIN_NANOSECONDS : 0;
}

cpu_pool *cpu_pool_create(int threads, const int *cpus) {
  if (threads < 1) {
    errno = EINVAL;
    return NULL;
  }
  cpu_pool *pool = aligned_alloc(CACHE_LINE, sizeof *pool);
  if (!pool) return NULL;
  *pool = (cpu_pool){.threads = threads, .spin_nanoseconds = spin_for(threads, cpus)};
  pthread_mutex_init(&pool->turn, NULL);
  pool->members = calloc((size_t)threads, sizeof *pool->members);
  if (cpus) pool->cpus = calloc((size_t)threads, sizeof *pool->cpus);
  if (!pool->members || (cpus && !pool->cpus)) {
    stop(pool, 1);
    errno = ENOMEM;
    return NULL;
  }
  for (int i = 0; cpus && i < threads; i++) pool->cpus[i] = cpus[i];
  // All signals are blocked in the pool's threads, because other threads of the program handle
  // them.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int failure = 0;
  int started = 1;
  for (; started < threads; started++) {
    member *next = &pool->members[started];
    next->pool = pool;
    next->index = started;
    failure = pthread_create(&next->thread, NULL, thread_main, next);
    if (failure != 0) break;
    pthread_setname_np(next->thread, "trestle-cpu");
  }
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (failure != 0) {
    stop(pool, started);
    errno = failure;
    return NULL;
  }
  return pool;
}

void cpu_pool_run(cpu_pool *pool, const cpu_call *calls, int64_t count, const cpu_step *step) {
  pthread_mutex_lock(&pool->turn);
  pthread_t self = pthread_self();
  if (pool->cpus && !(pool->has_pinned_caller && pthread_equal(pool->pinned_caller, self))) {
    pin(self, pool->cpus[0]);
    pool->pinned_caller = self;
    pool->has_pinned_caller = true;
  }
  pool->calls = calls;
  pool->count = count;
  pool->step = step;
  eventcount_advance(&pool->job);
  work(pool, 0);
  pthread_mutex_unlock(&pool->turn);
}

void cpu_pool_destroy(cpu_pool *pool) { stop(pool, pool->threads); }
