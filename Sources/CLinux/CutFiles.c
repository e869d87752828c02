// Which memory is mapped to which file, and the words in which a process ends that reads memory whose
// file was cut short: without them it is gone by a signal, and nobody knows why.
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "CLinux.h"

// Some 20 tensors in each of 100 layers, twice over: a stage is prepared beside the one that runs.
enum { NOTES = 4096 };

// A note is free while `begin` is 0. The handler reads notes while other threads write them: `begin` is
// written last, and cleared first.
static struct {
  _Atomic uintptr_t begin;
  _Atomic uintptr_t end;
  _Atomic(const char *) path;
} notes[NOTES];
_Static_assert(ATOMIC_POINTER_LOCK_FREE == 2 && ATOMIC_LONG_LOCK_FREE == 2 &&
                   sizeof(uintptr_t) == sizeof(long),
               "a signal handler may use only atomics that take no lock");

// Paths outlive their notes: a model has few files, and the handler may be reading.
struct path {
  struct path *next;
  char text[];
};

static pthread_mutex_t notes_lock = PTHREAD_MUTEX_INITIALIZER;
static struct path *paths;
static int next_note;
static struct sigaction action_before;

static const char *kept_path(const char *text) {
  for (struct path *path = paths; path != NULL; path = path->next) {
    if (strcmp(path->text, text) == 0) return path->text;
  }
  size_t size = strlen(text) + 1;
  struct path *path = malloc(sizeof *path + size);
  if (path == NULL) return NULL;
  memcpy(path->text, text, size);
  // A line for a log or a terminal, whatever the file is called.
  for (char *c = path->text; *c != 0; c++) {
    if ((unsigned char)*c < 0x20 || *c == 0x7f) *c = '?';
  }
  path->next = paths;
  paths = path;
  return path->text;
}

int clinux_name_mapping(const void *address, size_t size, const char *path) {
  pthread_mutex_lock(&notes_lock);
  const char *kept = kept_path(path);
  int number = -1;
  for (int tried = 0; kept != NULL && number < 0 && tried < NOTES; tried++) {
    if (atomic_load(&notes[next_note].begin) == 0) number = next_note;
    next_note = (next_note + 1) % NOTES;
  }
  if (number >= 0) {
    atomic_store(&notes[number].path, kept);
    atomic_store(&notes[number].end, (uintptr_t)address + size);
    atomic_store(&notes[number].begin, (uintptr_t)address);
  }
  pthread_mutex_unlock(&notes_lock);
  return number;
}

void clinux_forget_mapping(int number) {
  if (number >= 0) atomic_store(&notes[number].begin, 0);
}

// Calls only what signal-safety(7) lists.
static void report_cut_file(int number, siginfo_t *info, void *context) {
  (void)context;
  uintptr_t address = (uintptr_t)info->si_addr;
  for (int i = 0; i < NOTES && info->si_code == BUS_ADRERR; i++) {
    uintptr_t begin = atomic_load(&notes[i].begin);
    if (begin == 0 || address < begin || address >= atomic_load(&notes[i].end)) continue;
    static const char start[] = "error: ";
    static const char end[] =
        " was cut short while it was in use, or cannot be read; put a whole file in its place by "
        "renaming and start again\n";
    // One write, so that lines of other processes do not come between.
    enum { PATH_MOST = 4500 };  // a path of PATH_MAX, and some
    char line[5000];
    _Static_assert(sizeof start + PATH_MOST + sizeof end <= sizeof line, "a line has room for both");
    size_t size = 0;
    const char *path = atomic_load(&notes[i].path);
    size_t path_size = strlen(path);
    if (path_size > PATH_MOST) path_size = PATH_MOST;
    memcpy(line, start, sizeof start - 1);
    size += sizeof start - 1;
    memcpy(line + size, path, path_size);
    size += path_size;
    memcpy(line + size, end, sizeof end - 1);
    size += sizeof end - 1;
    ssize_t written = write(STDERR_FILENO, line, size);
    (void)written;
    _exit(CLINUX_CUT_FILE_STATUS);
  }
  // Not ours: the instruction runs again, and ends the process as it would have.
  sigaction(number, &action_before, NULL);
}

void clinux_tell_of_cut_files(void) {
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_sigaction = report_cut_file;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigemptyset(&action.sa_mask);
  sigaction(SIGBUS, &action, &action_before);
}
