// What Trestle needs of Linux that Swift's Glibc module does not show: calls that are variadic, need
// _GNU_SOURCE, or are no more than a system call number. Every function returns -1 (or a negative
// pid) with errno set on failure.
#ifndef CLINUX_H
#define CLINUX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

// Makes a pipe whose ends are closed on exec and do not block; fds[0] reads, fds[1] writes.
int clinux_pipe(int fds[2]);

// Makes an event counter: close-on-exec, non-blocking. Readable while the counter is not zero.
int clinux_eventfd(void);

// How many arguments main was given, the program's name included, and each of them.
int clinux_argument_count(void);
const char *clinux_argument(int index);

// Makes the process fit to run, whatever it was started with: descriptors 0, 1 and 2 are open (one
// that was closed fails when it is read, or written, with EBADF or EISDIR; 2 loses what is written),
// SIGPIPE and SIGXFSZ are ignored, so that a write fails instead, and ended children can be waited for.
// Call it before anything is opened or started.
void clinux_settle(void);

// Blocks the signals for the calling thread, and so for all it starts later, and returns a
// descriptor that is readable when one of them has arrived. Signals that the program's caller had set
// to be ignored (nohup, a shell's background) stay ignored; SIGTERM is always taken.
int clinux_signalfd(const int *signals, int count);

// Returns the next signal of a descriptor from clinux_signalfd, or 0 if none waits.
int clinux_next_signal(int fd);

// Starts a program in a process group of its own, with no signal blocked, and none ignored but what
// the caller of this one had set so. `lifeline` becomes the
// child's descriptor 3; nothing else that is close-on-exec is inherited. Returns the pid.
pid_t clinux_spawn(const char *path, char *const argv[], int lifeline);

// Returns a descriptor that becomes readable when the process ends.
int clinux_pidfd_open(pid_t pid);

// Takes an exclusive lock on an open file without waiting; 0 if taken, -1 with EWOULDBLOCK if held.
int clinux_try_lock(int fd);

// Opens a file of an open directory (creating it if absent, mode 0600) for a lock; close-on-exec.
// Fails with ELOOP if the name is a symbolic link.
int clinux_open_lock(int directory, const char *name);

// Opens a directory to reach files in it by name, which needs no permission to read it;
// close-on-exec. Fails with ENOTDIR or ELOOP for a symbolic link that is not to be followed.
int clinux_open_directory(const char *path, bool follows_link);

// Tells who listens behind a connected Unix socket: the user and process that called listen(2).
int clinux_listener(int fd, uid_t *user, pid_t *process);

// Keeps this process's memory out of core files, and from other processes of its user
// (PR_SET_DUMPABLE of prctl(2)). Whoever reports crashes from a handler of their signals goes on to
// do so. Lasts until the next exec.
int clinux_forbid_dumps(void);

// Returns the CPUs this process may run on: fills `cpus` with at most `capacity` numbers, returns
// how many there are.
int clinux_allowed_cpus(int *cpus, int capacity);

// Raises the number of descriptors that the process may open to the hard limit, at most to `most`, and
// returns what it is now.
int clinux_raise_descriptor_limit(int most);

// Returns how many bytes of the heap are free; some of them may not be in memory.
uint64_t clinux_free_heap(void);

// Gives the memory of what is free in the heap back to the system.
void clinux_trim_heap(void);

// Names the calling thread, and on the main thread the process, in ps and top: 15 characters.
void clinux_set_name(const char *name);

// From now on a process that reads memory of a mapped file which was cut short says which file that is,
// on stderr, and exits with CLINUX_CUT_FILE_STATUS. Other causes of SIGBUS end it as before.
void clinux_tell_of_cut_files(void);
#define CLINUX_CUT_FILE_STATUS 74  // EX_IOERR of sysexits.h

// Notes which file some memory is mapped to; returns the note's number, or -1 if there is no room for
// one: then the file is not named.
int clinux_name_mapping(const void *address, size_t size, const char *path);

// Forgets a note, before its memory is unmapped; does nothing for -1.
void clinux_forget_mapping(int number);

// Makes a file that is only memory, closed on exec; returns its descriptor, or -1 with errno.
int clinux_memory_file(const char *name);

// Gives the memory of a part of such a file back; it is zero from now on.
void clinux_release_range(int fd, int64_t offset, int64_t size);

// Copies between `bytes` and this process's memory at an address that may be wrong; returns whether all of it was there.
bool clinux_read_memory(uint64_t address, void *bytes, size_t size);
bool clinux_write_memory(uint64_t address, const void *bytes, size_t size);

#endif
