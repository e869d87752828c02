// The Vulkan functions that are used, as tables of pointers: those of the instance and those of a device.
#ifndef FUNCTIONS_H
#define FUNCTIONS_H

#include <stdatomic.h>

#include "CVulkan.h"

#define INSTANCE_FUNCTIONS(X)                \
  X(DestroyInstance)                         \
  X(EnumeratePhysicalDevices)                \
  X(EnumerateDeviceExtensionProperties)      \
  X(GetPhysicalDeviceProperties2)            \
  X(GetPhysicalDeviceFeatures2)              \
  X(GetPhysicalDeviceMemoryProperties2)      \
  X(GetPhysicalDeviceQueueFamilyProperties)  \
  X(CreateDevice)                            \
  X(GetDeviceProcAddr)

#define DEVICE_FUNCTIONS(X)      \
  X(DestroyDevice)               \
  X(GetDeviceQueue)              \
  X(DeviceWaitIdle)              \
  X(CreateBuffer)                \
  X(DestroyBuffer)               \
  X(GetBufferMemoryRequirements) \
  X(FreeMemory)                  \
  X(BindBufferMemory)            \
  X(MapMemory)                   \
  X(CreateDescriptorSetLayout)   \
  X(DestroyDescriptorSetLayout)  \
  X(CreatePipelineLayout)        \
  X(DestroyPipelineLayout)       \
  X(CreateShaderModule)          \
  X(DestroyShaderModule)         \
  X(CreatePipelineCache)         \
  X(DestroyPipelineCache)        \
  X(GetPipelineCacheData)        \
  X(CreateComputePipelines)      \
  X(DestroyPipeline)             \
  X(CreateDescriptorPool)        \
  X(DestroyDescriptorPool)       \
  X(AllocateDescriptorSets)      \
  X(UpdateDescriptorSets)        \
  X(CreateCommandPool)           \
  X(DestroyCommandPool)          \
  X(AllocateCommandBuffers)      \
  X(FreeCommandBuffers)          \
  X(BeginCommandBuffer)          \
  X(EndCommandBuffer)            \
  X(CmdBindPipeline)             \
  X(CmdBindDescriptorSets)       \
  X(CmdPushConstants)            \
  X(CmdDispatch)                 \
  X(CmdDispatchIndirect)         \
  X(CmdPipelineBarrier)          \
  X(CmdCopyBuffer)               \
  X(CreateSemaphore)             \
  X(DestroySemaphore)

#define MEMBER(name) PFN_vk##name name;

struct cvk_instance {
  void *library;
  VkInstance handle;
  _Atomic uint64_t message_count;
  VkDebugUtilsMessengerEXT messenger;
  PFN_vkDestroyDebugUtilsMessengerEXT destroy_messenger;
  INSTANCE_FUNCTIONS(MEMBER)
};

struct cvk_device {
  const cvk_instance *instance;
  VkDevice handle;
  VkQueue queue;
  uint32_t family;
  uint32_t type_count;
  uint32_t type_flags[CVK_MAX_TYPES];
  VkPipelineCache pipeline_cache;  // or VK_NULL_HANDLE
  cvk_hooks hooks;
  // Only on devices with executable_properties.
  PFN_vkGetPipelineExecutableStatisticsKHR GetPipelineExecutableStatisticsKHR;
  PFN_vkGetPipelineExecutableInternalRepresentationsKHR GetPipelineExecutableInternalRepresentationsKHR;
  DEVICE_FUNCTIONS(MEMBER)
};

// The physical device with this index.
int32_t cvk_physical(cvk_instance *instance, uint32_t index, VkPhysicalDevice *physical);

// The first queue family that computes; UINT32_MAX if there is none.
uint32_t cvk_compute_family(const cvk_instance *instance, VkPhysicalDevice physical);

#endif
