// What the parts of the library share: the descriptors that are an NPU's, and their connections to its kernel.
#ifndef CNPUPRELOAD_PRELOAD_H
#define CNPUPRELOAD_PRELOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Whether this process is to find an NPU.
bool preload_is_on(void);

// Opens the node: returns its descriptor, or -1 with errno.
int preload_open(int flags);

// Returns the place of a descriptor's connection in the table, or -1 if it is none of ours.
int preload_find(int fd);

// Each sends a message and serves the kernel until it is done; returns 0, or the number of an error.
int preload_request(int place, uint32_t request, uint64_t address);
void preload_mapped(int place, uint64_t offset, uint64_t count, void *address);

// Tells the kernel that memory is unmapped, if a buffer was mapped there.
void preload_unmapped(void *address);

// Ends the connection of a descriptor, before that is closed.
void preload_forget(int fd);

#endif
