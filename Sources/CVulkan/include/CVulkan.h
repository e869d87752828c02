// The part of Vulkan 1.2 that computing needs, in plain C: one instance, one device, one queue, storage
// buffers, compute pipelines, recorded lists of dispatches. Structures that Vulkan chains by pointers are
// built here, so callers pass only numbers and handles.
//
// The loader is opened at run time. A machine without it can still run the program.
//
// Functions that can fail return a VkResult as an int32_t: 0 is success, errors are negative.
// Threads: an instance and a device may be used by all threads, except that cvk_submit calls must not
// overlap, and neither may uses of one command pool or one descriptor pool.
#ifndef CVULKAN_H
#define CVULKAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifndef VK_NO_PROTOTYPES
#define VK_NO_PROTOTYPES
#endif
#include <vulkan/vulkan_core.h>

// --- Machine ---------------------------------------------------------------------------------------

// The functions that are called with a device. Tests replace some of them to make a device fail.
typedef struct {
  PFN_vkAllocateMemory allocate_memory;
  PFN_vkQueueSubmit queue_submit;
  PFN_vkWaitSemaphores wait_semaphores;
} cvk_hooks;

typedef struct cvk_instance cvk_instance;
typedef struct cvk_device cvk_device;

// What cvk_open has found.
typedef enum {
  CVK_OPENED,
  CVK_NO_LOADER,  // libvulkan.so.1 is not installed
  CVK_NO_DRIVER,  // no driver is installed, or none for a device of this machine
  CVK_TOO_OLD,    // the loader is older than Vulkan 1.2
  CVK_FAILED,     // another error; see the result
} cvk_opened;

// Opens the loader and makes an instance. With `validates`, the layer VK_LAYER_KHRONOS_validation checks
// all calls, synchronization and accesses of shaders; opening fails if it is not installed.
cvk_opened cvk_open(bool validates, cvk_instance **instance, int32_t *result);

void cvk_close(cvk_instance *instance);

// How many warnings and errors the validation layer has reported. Each is printed to stderr as well.
uint64_t cvk_validation_messages(cvk_instance *instance);

// The name of a result, as Vulkan spells it.
const char *cvk_result_name(int32_t result);

enum { CVK_MAX_HEAPS = 16, CVK_MAX_TYPES = 32 };

// A physical device.
typedef struct {
  char name[256];
  char driver[512];  // its name and version, as it states them
  uint32_t api_version;
  // What compiled pipelines are good for: these four identify the device and its driver.
  uint32_t vendor, device, driver_version;
  uint8_t pipeline_cache_uuid[16];
  bool is_software;    // computed by the host's processor
  bool is_integrated;  // shares the host's memory
  bool has_compute;    // there is a queue that computes
  // Features.
  bool timeline_semaphores;
  bool integer_dot;              // products of packed int8
  bool integer_dot_accelerated;  // by an instruction of the device
  bool subgroup_arithmetic;
  bool memory_budget;  // heap_budgets are the driver's; otherwise they are the sizes
  bool executable_properties;
  // Limits.
  uint32_t subgroup_size;
  uint32_t max_invocations, max_group_size, max_shared_bytes, max_push_bytes;
  uint64_t max_range_bytes, max_allocation_bytes;
  uint64_t range_alignment;
  // Memory.
  uint32_t heap_count, type_count;
  uint64_t heap_bytes[CVK_MAX_HEAPS];
  uint64_t heap_budgets[CVK_MAX_HEAPS];  // what this process may use, what it uses included
  uint32_t heap_flags[CVK_MAX_HEAPS];
  uint32_t type_flags[CVK_MAX_TYPES];
  uint32_t type_heaps[CVK_MAX_TYPES];
} cvk_description;

int32_t cvk_device_count(cvk_instance *instance, uint32_t *count);

int32_t cvk_describe(cvk_instance *instance, uint32_t index, cvk_description *description);

// --- Device ----------------------------------------------------------------------------------------

// Opens a device with the features that the description lists, and its queue.
int32_t cvk_open_device(cvk_instance *instance, uint32_t index, cvk_device **device);

void cvk_close_device(cvk_device *device);

cvk_hooks *cvk_device_hooks(cvk_device *device);

typedef struct {
  VkBuffer buffer;
  VkDeviceMemory memory;
  void *mapped;         // NULL if the host cannot see the memory
  uint32_t type_flags;  // VkMemoryPropertyFlags
} cvk_buffer;

// Makes a buffer in a memory that has all of one of `wishes` (VkMemoryPropertyFlags), which are tried in
// this order. Memory that the host can see is mapped.
int32_t cvk_create_buffer(cvk_device *device, uint64_t bytes, const uint32_t *wishes, uint32_t wish_count,
                          cvk_buffer *buffer);

void cvk_destroy_buffer(cvk_device *device, cvk_buffer *buffer);

// The bindings of a kernel: storage buffers, numbered from 0, and push constants.
typedef struct {
  VkDescriptorSetLayout set;
  VkPipelineLayout pipeline;
} cvk_layout;

int32_t cvk_create_layout(cvk_device *device, uint32_t buffer_count, cvk_layout *layout);

void cvk_destroy_layout(cvk_device *device, cvk_layout layout);

// The bytes of push constants that every device has.
enum { CVK_PUSH_BYTES = 128 };

// Gives the device pipelines that were compiled before, as cvk_pipeline_cache_data has returned them for this
// device and driver. Without a call, pipelines are compiled, and cvk_pipeline_cache_data has nothing.
int32_t cvk_open_pipeline_cache(cvk_device *device, const void *data, size_t bytes);

// Writes what is compiled so far to `data`, which has room for `*bytes`; with NULL, returns the size.
int32_t cvk_pipeline_cache_data(cvk_device *device, void *data, size_t *bytes);

// Makes a pipeline of a shader with the entry point `main`. Specialization constants have the numbers
// from 0 and are 32 bits wide each. With `captures`, cvk_pipeline_statistics works on it.
int32_t cvk_create_pipeline(cvk_device *device, VkPipelineLayout layout, const void *spirv,
                            size_t spirv_bytes, const uint32_t *constants, uint32_t constant_count,
                            bool captures, VkPipeline *pipeline);

void cvk_destroy_pipeline(cvk_device *device, VkPipeline pipeline);

// A number that the driver's compiler tells of a pipeline: registers, spills, instructions.
typedef struct {
  char name[256];
  double value;
} cvk_statistic;

// Writes at most `capacity` statistics; returns how many there are in `count`.
int32_t cvk_pipeline_statistics(cvk_device *device, VkPipeline pipeline, cvk_statistic *statistics,
                                uint32_t capacity, uint32_t *count);

// Writes the instructions of a pipeline, as text that ends with 0, to `text`; with NULL, returns the size in
// `count`. Not all drivers tell: the size is 0 then.
int32_t cvk_pipeline_assembly(cvk_device *device, VkPipeline pipeline, char *text, size_t *count);

// --- Work ------------------------------------------------------------------------------------------

// A part of a buffer.
typedef struct {
  VkBuffer buffer;
  uint64_t offset, bytes;
} cvk_range;

int32_t cvk_create_descriptor_pool(cvk_device *device, uint32_t set_count, uint32_t buffer_count,
                                   VkDescriptorPool *pool);

void cvk_destroy_descriptor_pool(cvk_device *device, VkDescriptorPool pool);

// Makes a set that binds ranges to the bindings 0, 1, ... of a layout.
int32_t cvk_create_set(cvk_device *device, VkDescriptorPool pool, VkDescriptorSetLayout layout,
                       const cvk_range *ranges, uint32_t range_count, VkDescriptorSet *set);

int32_t cvk_create_command_pool(cvk_device *device, VkCommandPool *pool);

void cvk_destroy_command_pool(cvk_device *device, VkCommandPool pool);

// One call of a kernel.
typedef struct {
  VkPipeline pipeline;
  VkPipelineLayout layout;
  VkDescriptorSet set;
  uint32_t push[CVK_PUSH_BYTES / 4];
  uint32_t push_words;
  uint32_t groups[3];
  VkBuffer indirect;  // NULL: `groups`; else where the numbers of groups are read from
  uint64_t indirect_offset;
  bool waits;  // whether all dispatches before must have ended
} cvk_dispatch;

typedef struct {
  VkBuffer source, target;
  uint64_t source_offset, target_offset, bytes;
} cvk_copy;

// Records dispatches, then copies. Copies see what the dispatches have written, and the host what all have
// written. What earlier submits on the queue have written is visible from the start.
int32_t cvk_record(cvk_device *device, VkCommandPool pool, const cvk_dispatch *dispatches,
                   size_t dispatch_count, const cvk_copy *copies, size_t copy_count,
                   VkCommandBuffer *commands);

void cvk_free_commands(cvk_device *device, VkCommandPool pool, VkCommandBuffer commands);

int32_t cvk_create_timeline(cvk_device *device, VkSemaphore *timeline);

void cvk_destroy_timeline(cvk_device *device, VkSemaphore timeline);

// Submits recorded commands; when they have ended, the timeline has reached `value`.
int32_t cvk_submit(cvk_device *device, VkCommandBuffer commands, VkSemaphore timeline, uint64_t value);

// Waits until nothing runs on the device any more; a device that was lost runs nothing.
void cvk_wait_idle(cvk_device *device);

// Waits until the timeline has reached a value; VK_TIMEOUT (2) after so many nanoseconds.
int32_t cvk_wait(cvk_device *device, VkSemaphore timeline, uint64_t value, uint64_t nanoseconds);

#endif
