// What is exchanged with the kernel's driver of AMD's NPUs, amdxdna: requests, structures, command packets.
//
// Source: include/uapi/drm/amdxdna_accel.h and include/uapi/drm/drm.h of Linux 6.14, whose names the fields have here. Debian's
// headers do not have the driver yet. Sizes and places of fields are asserted below.
#ifndef CAMDXDNA_H
#define CAMDXDNA_H

#include <stddef.h>
#include <stdint.h>

// --- Requests --------------------------------------------------------------------------------------
//
// A request is direction << 30 | size << 16 | 'd' << 8 | number. The kernel goes by the number, and copies as many bytes
// as both sides know.

#define AMDXDNA_REQUEST(direction, number, type) \
  ((uint32_t)(direction) << 30 | (uint32_t)sizeof(type) << 16 | (uint32_t)'d' << 8 | (number))

enum { AMDXDNA_WRITES = 1, AMDXDNA_READS_AND_WRITES = 3 };

// Numbers of requests: those of the driver itself, and those that all drivers of the kernel's DRM have.
enum {
  AMDXDNA_NUMBER_VERSION = 0x00,
  AMDXDNA_NUMBER_GEM_CLOSE = 0x09,
  AMDXDNA_NUMBER_CREATE_HWCTX = 0x40,
  AMDXDNA_NUMBER_DESTROY_HWCTX = 0x41,
  AMDXDNA_NUMBER_CONFIG_HWCTX = 0x42,
  AMDXDNA_NUMBER_CREATE_BO = 0x43,
  AMDXDNA_NUMBER_GET_BO_INFO = 0x44,
  AMDXDNA_NUMBER_SYNC_BO = 0x45,
  AMDXDNA_NUMBER_EXEC_CMD = 0x46,
  AMDXDNA_NUMBER_GET_INFO = 0x47,
  AMDXDNA_NUMBER_SYNCOBJ_DESTROY = 0xC0,
  AMDXDNA_NUMBER_SYNCOBJ_TIMELINE_WAIT = 0xCA,
};

// --- Contexts --------------------------------------------------------------------------------------

struct amdxdna_qos {
  uint32_t gops, fps, dma_bandwidth, latency, frame_exec_time, priority;
};

struct amdxdna_create_hwctx {
  uint64_t ext, ext_flags;  // zero
  uint64_t qos_p;           // a struct amdxdna_qos
  uint32_t umq_bo, log_buf_bo;
  uint32_t max_opc;    // the most operations of a command
  uint32_t num_tiles;  // cores: columns times rows of cores
  uint32_t mem_size;
  uint32_t umq_doorbell;  // out
  uint32_t handle;        // out
  uint32_t syncobj_handle;  // out: its timeline counts the commands that have ended
};

struct amdxdna_destroy_hwctx {
  uint32_t handle, pad;
};

enum { AMDXDNA_CONFIG_CU = 0 };

struct amdxdna_config_hwctx {
  uint32_t handle, param_type;
  uint64_t param_val;  // a struct amdxdna_config_cu
  uint32_t param_val_size, pad;
};

struct amdxdna_cu {
  uint32_t cu_bo;  // a buffer of the heap with a PDI
  uint8_t cu_func, pad[3];
};

// Followed by `num_cus` times struct amdxdna_cu.
struct amdxdna_config_cu {
  uint16_t num_cus, pad[3];
};

// --- Buffers ---------------------------------------------------------------------------------------

enum {
  AMDXDNA_BO_SHARED = 1,  // pages of the machine's memory
  AMDXDNA_BO_HEAP = 2,    // where the buffers of the next type lie
  AMDXDNA_BO_DEVICE = 3,  // configurations and control code
  AMDXDNA_BO_COMMAND = 4,
};

struct amdxdna_create_bo {
  uint64_t flags, vaddr;  // zero
  uint64_t size;
  uint32_t type, handle;  // the handle is out
};

#define AMDXDNA_INVALID_ADDRESS UINT64_MAX

struct amdxdna_get_bo_info {
  uint64_t ext, ext_flags;  // zero
  uint32_t handle, pad;
  uint64_t map_offset;  // out: for mmap; AMDXDNA_INVALID_ADDRESS if it has no pages of its own
  uint64_t vaddr;       // out: where it is mapped
  uint64_t xdna_addr;   // out: where the device sees it; AMDXDNA_INVALID_ADDRESS if that is where it is mapped
};

enum { AMDXDNA_TO_DEVICE = 0, AMDXDNA_FROM_DEVICE = 1 };

struct amdxdna_sync_bo {
  uint32_t handle, direction;
  uint64_t offset, size;
};

struct amdxdna_gem_close {
  uint32_t handle, pad;
};

// --- Commands --------------------------------------------------------------------------------------

enum { AMDXDNA_SUBMIT_EXEC_BUF = 0 };

struct amdxdna_exec_cmd {
  uint64_t ext, ext_flags;  // zero
  uint32_t hwctx, type;
  uint64_t cmd_handles;  // the handle itself, of one buffer with a packet
  uint64_t args;         // handles of the buffers that it refers to, uint32_t each
  uint32_t cmd_count, arg_count;
  uint64_t seq;  // out: the point of the context's timeline at which it has ended
};

// A packet is a header and `count` words.
//   [3:0] state   [11:10] further masks of units   [22:12] count   [27:23] opcode   [31:28] type
enum {
  AMDXDNA_STATE_NEW = 1,
  AMDXDNA_STATE_QUEUED = 2,
  AMDXDNA_STATE_RUNNING = 3,
  AMDXDNA_STATE_COMPLETED = 4,
  AMDXDNA_STATE_ERROR = 5,
  AMDXDNA_STATE_ABORT = 6,
  AMDXDNA_STATE_SUBMITTED = 7,
  AMDXDNA_STATE_TIMEOUT = 8,
  AMDXDNA_STATE_NORESPONSE = 9,
};

enum { AMDXDNA_OPCODE_START_CU = 0, AMDXDNA_OPCODE_CHAIN = 19 };

enum {
  AMDXDNA_COUNT_SHIFT = 12,
  AMDXDNA_COUNT_MASK = 0x7FF,
  AMDXDNA_OPCODE_SHIFT = 23,
  AMDXDNA_OPCODE_MASK = 0x1F,
  AMDXDNA_STATE_MASK = 0xF,
};

// The words behind the mask of units in a START_CU, without gaps: 3 as 64 bits, the address of the control code as 64
// bits, its length, then addresses of arguments as 64 bits each.
enum { AMDXDNA_START_CODE = 3, AMDXDNA_MAX_ARGUMENTS = 7 };

// The payload of a chain, followed by `command_count` handles of 64 bits.
struct amdxdna_chain {
  uint32_t command_count, submit_index, error_index, reserved[3];
};

// Of all commands of a chain.
enum { AMDXDNA_CHAIN_BYTES = 4096 };

enum { AMDXDNA_WAIT_FOR_SUBMIT = 2 };

struct amdxdna_timeline_wait {
  uint64_t handles, points;  // uint32_t and uint64_t, `count_handles` each
  int64_t timeout_nsec;      // of CLOCK_MONOTONIC
  uint32_t count_handles, flags, first_signaled, pad;
};

struct amdxdna_syncobj_destroy {
  uint32_t handle, pad;
};

// --- Questions -------------------------------------------------------------------------------------

enum {
  AMDXDNA_INFO_AIE_METADATA = 1,
  AMDXDNA_INFO_AIE_VERSION = 2,
  AMDXDNA_INFO_CLOCKS = 3,
  AMDXDNA_INFO_SENSORS = 4,
  AMDXDNA_INFO_FIRMWARE = 8,
  AMDXDNA_INFO_POWER_MODE = 9,
};

struct amdxdna_get_info {
  uint32_t param, buffer_size;  // the size is in and out
  uint64_t buffer;
};

struct amdxdna_tile_metadata {
  uint16_t row_count, row_start, dma_channel_count, lock_count, event_reg_count, pad[3];
};

struct amdxdna_metadata {
  uint32_t col_size;
  uint16_t cols, rows;
  uint32_t major, minor;
  struct amdxdna_tile_metadata core, mem, shim;
};

struct amdxdna_version {
  uint32_t major, minor;
};

struct amdxdna_clock {
  uint8_t name[16];
  uint32_t freq_mhz, pad;
};

struct amdxdna_clocks {
  struct amdxdna_clock mp_npu, h;
};

struct amdxdna_firmware {
  uint32_t major, minor, patch, build;
};

struct amdxdna_power_mode {
  uint8_t power_mode, pad[7];
};

// Generic: which driver a node is of. The three texts are not terminated.
struct amdxdna_drm_version {
  int32_t major, minor, patch, pad;
  uint64_t name_len, name, date_len, date, desc_len, desc;
};

// --- Sizes, as the published header has them -------------------------------------------------------

#define AMDXDNA_HAS(type, bytes) _Static_assert(sizeof(struct type) == (bytes), #type)
#define AMDXDNA_AT(type, field, place) \
  _Static_assert(offsetof(struct type, field) == (place), #type "." #field)

AMDXDNA_HAS(amdxdna_qos, 24);
AMDXDNA_HAS(amdxdna_create_hwctx, 56);
AMDXDNA_AT(amdxdna_create_hwctx, qos_p, 16);
AMDXDNA_AT(amdxdna_create_hwctx, max_opc, 32);
AMDXDNA_AT(amdxdna_create_hwctx, num_tiles, 36);
AMDXDNA_AT(amdxdna_create_hwctx, handle, 48);
AMDXDNA_AT(amdxdna_create_hwctx, syncobj_handle, 52);
AMDXDNA_HAS(amdxdna_destroy_hwctx, 8);
AMDXDNA_HAS(amdxdna_config_hwctx, 24);
AMDXDNA_AT(amdxdna_config_hwctx, param_val, 8);
AMDXDNA_AT(amdxdna_config_hwctx, param_val_size, 16);
AMDXDNA_HAS(amdxdna_cu, 8);
AMDXDNA_HAS(amdxdna_config_cu, 8);
AMDXDNA_HAS(amdxdna_create_bo, 32);
AMDXDNA_AT(amdxdna_create_bo, size, 16);
AMDXDNA_AT(amdxdna_create_bo, type, 24);
AMDXDNA_AT(amdxdna_create_bo, handle, 28);
AMDXDNA_HAS(amdxdna_get_bo_info, 48);
AMDXDNA_AT(amdxdna_get_bo_info, handle, 16);
AMDXDNA_AT(amdxdna_get_bo_info, map_offset, 24);
AMDXDNA_AT(amdxdna_get_bo_info, vaddr, 32);
AMDXDNA_AT(amdxdna_get_bo_info, xdna_addr, 40);
AMDXDNA_HAS(amdxdna_sync_bo, 24);
AMDXDNA_AT(amdxdna_sync_bo, offset, 8);
AMDXDNA_HAS(amdxdna_gem_close, 8);
AMDXDNA_HAS(amdxdna_exec_cmd, 56);
AMDXDNA_AT(amdxdna_exec_cmd, hwctx, 16);
AMDXDNA_AT(amdxdna_exec_cmd, cmd_handles, 24);
AMDXDNA_AT(amdxdna_exec_cmd, args, 32);
AMDXDNA_AT(amdxdna_exec_cmd, cmd_count, 40);
AMDXDNA_AT(amdxdna_exec_cmd, arg_count, 44);
AMDXDNA_AT(amdxdna_exec_cmd, seq, 48);
AMDXDNA_HAS(amdxdna_chain, 24);
AMDXDNA_HAS(amdxdna_timeline_wait, 40);
AMDXDNA_AT(amdxdna_timeline_wait, timeout_nsec, 16);
AMDXDNA_AT(amdxdna_timeline_wait, count_handles, 24);
AMDXDNA_HAS(amdxdna_syncobj_destroy, 8);
AMDXDNA_HAS(amdxdna_get_info, 16);
AMDXDNA_HAS(amdxdna_tile_metadata, 16);
AMDXDNA_HAS(amdxdna_metadata, 64);
AMDXDNA_AT(amdxdna_metadata, major, 8);
AMDXDNA_AT(amdxdna_metadata, core, 16);
AMDXDNA_HAS(amdxdna_version, 8);
AMDXDNA_HAS(amdxdna_clocks, 48);
AMDXDNA_HAS(amdxdna_firmware, 16);
AMDXDNA_HAS(amdxdna_power_mode, 8);
AMDXDNA_HAS(amdxdna_drm_version, 64);

// The requests. The three of all drivers have the sizes that libdrm 2.4.114 knows.
enum {
  AMDXDNA_VERSION = 0xC0406400u,
  AMDXDNA_GEM_CLOSE = 0x40086409u,
  AMDXDNA_CREATE_HWCTX = 0xC0386440u,
  AMDXDNA_DESTROY_HWCTX = 0xC0086441u,
  AMDXDNA_CONFIG_HWCTX = 0xC0186442u,
  AMDXDNA_CREATE_BO = 0xC0206443u,
  AMDXDNA_GET_BO_INFO = 0xC0306444u,
  AMDXDNA_SYNC_BO = 0xC0186445u,
  AMDXDNA_EXEC_CMD = 0xC0386446u,
  AMDXDNA_GET_INFO = 0xC0106447u,
  AMDXDNA_SYNCOBJ_DESTROY = 0xC00864C0u,
  AMDXDNA_SYNCOBJ_TIMELINE_WAIT = 0xC02864CAu,
};

#define AMDXDNA_IS(name, direction, type)                                                      \
  _Static_assert(AMDXDNA_##name ==                                                             \
                     AMDXDNA_REQUEST(AMDXDNA_##direction, AMDXDNA_NUMBER_##name, struct type), \
                 #name)

AMDXDNA_IS(VERSION, READS_AND_WRITES, amdxdna_drm_version);
AMDXDNA_IS(GEM_CLOSE, WRITES, amdxdna_gem_close);
AMDXDNA_IS(CREATE_HWCTX, READS_AND_WRITES, amdxdna_create_hwctx);
AMDXDNA_IS(DESTROY_HWCTX, READS_AND_WRITES, amdxdna_destroy_hwctx);
AMDXDNA_IS(CONFIG_HWCTX, READS_AND_WRITES, amdxdna_config_hwctx);
AMDXDNA_IS(CREATE_BO, READS_AND_WRITES, amdxdna_create_bo);
AMDXDNA_IS(GET_BO_INFO, READS_AND_WRITES, amdxdna_get_bo_info);
AMDXDNA_IS(SYNC_BO, READS_AND_WRITES, amdxdna_sync_bo);
AMDXDNA_IS(EXEC_CMD, READS_AND_WRITES, amdxdna_exec_cmd);
AMDXDNA_IS(GET_INFO, READS_AND_WRITES, amdxdna_get_info);
AMDXDNA_IS(SYNCOBJ_DESTROY, READS_AND_WRITES, amdxdna_syncobj_destroy);
AMDXDNA_IS(SYNCOBJ_TIMELINE_WAIT, READS_AND_WRITES, amdxdna_timeline_wait);

// --- Calls -----------------------------------------------------------------------------------------
//
// What C's functions with variable arguments and macros are not for Swift. Each returns 0, or the number of an error.

// Opens a node, for this process alone.
int amdxdna_open(const char *path, int *descriptor);

// Does a request; one that a signal has interrupted is repeated. EAGAIN is returned: what it means depends on the request.
int amdxdna_request(int descriptor, uint32_t request, void *argument);

// Maps pages of a buffer at a multiple of `alignment`, a power of two of at least a page.
int amdxdna_map(int descriptor, uint64_t offset, size_t size, size_t alignment, void **address);

#endif
