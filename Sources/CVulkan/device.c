// A device: its queue, its buffers and pipelines.

#include <stdlib.h>
#include <string.h>

#include "functions.h"

// Makes the device with what its description says it has and the program uses.
static int32_t create(const cvk_instance *instance, VkPhysicalDevice physical,
                      const cvk_description *description, cvk_device *device) {
  VkPhysicalDevicePipelineExecutablePropertiesFeaturesKHR executable = {
      .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PIPELINE_EXECUTABLE_PROPERTIES_FEATURES_KHR,
      .pipelineExecutableInfo = VK_TRUE,
  };
  VkPhysicalDeviceShaderIntegerDotProductFeatures dot = {
      .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_INTEGER_DOT_PRODUCT_FEATURES,
      .pNext = description->executable_properties ? &executable : NULL,
      .shaderIntegerDotProduct = VK_TRUE,
  };
  VkPhysicalDeviceTimelineSemaphoreFeatures timeline = {
      .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_TIMELINE_SEMAPHORE_FEATURES,
      .pNext = &dot,
      .timelineSemaphore = VK_TRUE,
  };
  const char *extensions[2];
  uint32_t count = 0;
  // Since 1.3 integer dot products are no extension.
  if (description->api_version < VK_API_VERSION_1_3) {
    extensions[count++] = VK_KHR_SHADER_INTEGER_DOT_PRODUCT_EXTENSION_NAME;
  }
  if (description->executable_properties) {
    extensions[count++] = VK_KHR_PIPELINE_EXECUTABLE_PROPERTIES_EXTENSION_NAME;
  }
  float priority = 1;
  VkDeviceQueueCreateInfo queue = {
      .sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO,
      .queueFamilyIndex = device->family,
      .queueCount = 1,
      .pQueuePriorities = &priority,
  };
  VkDeviceCreateInfo info = {
      .sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO,
      .pNext = &timeline,
      .queueCreateInfoCount = 1,
      .pQueueCreateInfos = &queue,
      .enabledExtensionCount = count,
      .ppEnabledExtensionNames = extensions,
  };
  return instance->CreateDevice(physical, &info, NULL, &device->handle);
}

int32_t cvk_open_device(cvk_instance *instance, uint32_t index, cvk_device **opened) {
  VkPhysicalDevice physical = NULL;
  cvk_description description;
  int32_t result = cvk_physical(instance, index, &physical);
  if (result == VK_SUCCESS) result = cvk_describe(instance, index, &description);
  if (result != VK_SUCCESS) return result;
  cvk_device *device = calloc(1, sizeof *device);
  if (!device) return VK_ERROR_OUT_OF_HOST_MEMORY;
  device->instance = instance;
  device->family = cvk_compute_family(instance, physical);
  device->type_count = description.type_count;
  memcpy(device->type_flags, description.type_flags, sizeof device->type_flags);
  result = create(instance, physical, &description, device);
  if (result != VK_SUCCESS) {
    free(device);
    return result;
  }
  PFN_vkGetDeviceProcAddr get = instance->GetDeviceProcAddr;
#define LOAD(name) device->name = (PFN_vk##name)get(device->handle, "vk" #name);
  DEVICE_FUNCTIONS(LOAD)
#undef LOAD
  device->hooks = (cvk_hooks){
      .allocate_memory = (PFN_vkAllocateMemory)get(device->handle, "vkAllocateMemory"),
      .queue_submit = (PFN_vkQueueSubmit)get(device->handle, "vkQueueSubmit"),
      .wait_semaphores = (PFN_vkWaitSemaphores)get(device->handle, "vkWaitSemaphores"),
  };
  device->GetPipelineExecutableStatisticsKHR = (PFN_vkGetPipelineExecutableStatisticsKHR)get(
      device->handle, "vkGetPipelineExecutableStatisticsKHR");
  device->GetPipelineExecutableInternalRepresentationsKHR =
      (PFN_vkGetPipelineExecutableInternalRepresentationsKHR)get(
          device->handle, "vkGetPipelineExecutableInternalRepresentationsKHR");
  device->GetDeviceQueue(device->handle, device->family, 0, &device->queue);
  *opened = device;
  return VK_SUCCESS;
}

void cvk_close_device(cvk_device *device) {
  device->DestroyPipelineCache(device->handle, device->pipeline_cache, NULL);
  device->DestroyDevice(device->handle, NULL);
  free(device);
}

cvk_hooks *cvk_device_hooks(cvk_device *device) { return &device->hooks; }

// --- Buffers ---------------------------------------------------------------------------------------

// Allocates from the first type among `allowed` that has all of the flags and has room.
static int32_t allocate(cvk_device *device, uint64_t bytes, uint32_t allowed, uint32_t flags,
                        cvk_buffer *buffer) {
  int32_t result = VK_ERROR_FEATURE_NOT_PRESENT;
  for (uint32_t i = 0; i < device->type_count; i++) {
    if (!(allowed >> i & 1) || (device->type_flags[i] & flags) != flags) continue;
    VkMemoryAllocateInfo info = {
        .sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO,
        .allocationSize = bytes,
        .memoryTypeIndex = i,
    };
    buffer->type_flags = device->type_flags[i];
    result = device->hooks.allocate_memory(device->handle, &info, NULL, &buffer->memory);
    if (result == VK_SUCCESS) return result;
  }
  return result;
}

int32_t cvk_create_buffer(cvk_device *device, uint64_t bytes, const uint32_t *wishes,
                          uint32_t wish_count, cvk_buffer *buffer) {
  memset(buffer, 0, sizeof *buffer);
  VkBufferCreateInfo info = {
      .sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO,
      .size = bytes,
      .usage = VK_BUFFER_USAGE_STORAGE_BUFFER_BIT | VK_BUFFER_USAGE_INDIRECT_BUFFER_BIT |
               VK_BUFFER_USAGE_TRANSFER_SRC_BIT | VK_BUFFER_USAGE_TRANSFER_DST_BIT,
  };
  int32_t result = device->CreateBuffer(device->handle, &info, NULL, &buffer->buffer);
  if (result != VK_SUCCESS) return result;
  VkMemoryRequirements needs;
  device->GetBufferMemoryRequirements(device->handle, buffer->buffer, &needs);
  result = VK_ERROR_FEATURE_NOT_PRESENT;
  for (uint32_t i = 0; i < wish_count && result != VK_SUCCESS; i++) {
    int32_t tried = allocate(device, needs.size, needs.memoryTypeBits, wishes[i], buffer);
    // That there is no such memory says less than that it is full.
    if (tried != VK_ERROR_FEATURE_NOT_PRESENT) result = tried;
  }
  if (result == VK_SUCCESS) {
    result = device->BindBufferMemory(device->handle, buffer->buffer, buffer->memory, 0);
  }
  if (result == VK_SUCCESS && (buffer->type_flags & VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT)) {
    result = device->MapMemory(device->handle, buffer->memory, 0, VK_WHOLE_SIZE, 0, &buffer->mapped);
  }
  if (result != VK_SUCCESS) cvk_destroy_buffer(device, buffer);
  return result;
}

void cvk_destroy_buffer(cvk_device *device, cvk_buffer *buffer) {
  // Freeing memory unmaps it.
  device->DestroyBuffer(device->handle, buffer->buffer, NULL);
  device->FreeMemory(device->handle, buffer->memory, NULL);
  memset(buffer, 0, sizeof *buffer);
}

// --- Pipelines -------------------------------------------------------------------------------------

enum { MAX_BUFFERS = 16 };

int32_t cvk_create_layout(cvk_device *device, uint32_t buffer_count, cvk_layout *layout) {
  memset(layout, 0, sizeof *layout);
  if (buffer_count > MAX_BUFFERS) return VK_ERROR_TOO_MANY_OBJECTS;
  VkDescriptorSetLayoutBinding bindings[MAX_BUFFERS];
  for (uint32_t i = 0; i < buffer_count; i++) {
    bindings[i] = (VkDescriptorSetLayoutBinding){
        .binding = i,
        .descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,
        .descriptorCount = 1,
        .stageFlags = VK_SHADER_STAGE_COMPUTE_BIT,
    };
  }
  VkDescriptorSetLayoutCreateInfo set = {
      .sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO,
      .bindingCount = buffer_count,
      .pBindings = bindings,
  };
  int32_t result = device->CreateDescriptorSetLayout(device->handle, &set, NULL, &layout->set);
  if (result != VK_SUCCESS) return result;
  VkPushConstantRange push = {.stageFlags = VK_SHADER_STAGE_COMPUTE_BIT, .size = CVK_PUSH_BYTES};
  VkPipelineLayoutCreateInfo info = {
      .sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO,
      .setLayoutCount = 1,
      .pSetLayouts = &layout->set,
      .pushConstantRangeCount = 1,
      .pPushConstantRanges = &push,
  };
  result = device->CreatePipelineLayout(device->handle, &info, NULL, &layout->pipeline);
  if (result != VK_SUCCESS) cvk_destroy_layout(device, *layout);
  return result;
}

void cvk_destroy_layout(cvk_device *device, cvk_layout layout) {
  device->DestroyPipelineLayout(device->handle, layout.pipeline, NULL);
  device->DestroyDescriptorSetLayout(device->handle, layout.set, NULL);
}

int32_t cvk_open_pipeline_cache(cvk_device *device, const void *data, size_t bytes) {
  VkPipelineCacheCreateInfo info = {
      .sType = VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO,
      .initialDataSize = bytes,
      .pInitialData = data,
  };
  return device->CreatePipelineCache(device->handle, &info, NULL, &device->pipeline_cache);
}

int32_t cvk_pipeline_cache_data(cvk_device *device, void *data, size_t *bytes) {
  if (device->pipeline_cache == VK_NULL_HANDLE) {
    *bytes = 0;
    return VK_SUCCESS;
  }
  return device->GetPipelineCacheData(device->handle, device->pipeline_cache, bytes, data);
}

enum { MAX_CONSTANTS = 32 };

int32_t cvk_create_pipeline(cvk_device *device, VkPipelineLayout layout, const void *spirv,
                            size_t spirv_bytes, const uint32_t *constants, uint32_t constant_count,
                            bool captures, VkPipeline *pipeline) {
  if (constant_count > MAX_CONSTANTS) return VK_ERROR_TOO_MANY_OBJECTS;
  VkSpecializationMapEntry entries[MAX_CONSTANTS];
  for (uint32_t i = 0; i < constant_count; i++) {
    entries[i] = (VkSpecializationMapEntry){.constantID = i, .offset = 4 * i, .size = 4};
  }
  VkSpecializationInfo specialization = {
      .mapEntryCount = constant_count,
      .pMapEntries = entries,
      .dataSize = 4 * constant_count,
      .pData = constants,
  };
  VkShaderModuleCreateInfo module_info = {
      .sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO,
      .codeSize = spirv_bytes,
      .pCode = spirv,
  };
  VkShaderModule module;
  int32_t result = device->CreateShaderModule(device->handle, &module_info, NULL, &module);
  if (result != VK_SUCCESS) return result;
  VkComputePipelineCreateInfo info = {
      .sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO,
      .flags = captures ? VK_PIPELINE_CREATE_CAPTURE_STATISTICS_BIT_KHR |
                              VK_PIPELINE_CREATE_CAPTURE_INTERNAL_REPRESENTATIONS_BIT_KHR
                        : 0,
      .stage =
          {
              .sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO,
              .stage = VK_SHADER_STAGE_COMPUTE_BIT,
              .module = module,
              .pName = "main",
              .pSpecializationInfo = &specialization,
          },
      .layout = layout,
  };
  // A pipeline out of a cache may come without its statistics.
  VkPipelineCache cache = captures ? VK_NULL_HANDLE : device->pipeline_cache;
  result = device->CreateComputePipelines(device->handle, cache, 1, &info, NULL, pipeline);
  device->DestroyShaderModule(device->handle, module, NULL);
  return result;
}

void cvk_destroy_pipeline(cvk_device *device, VkPipeline pipeline) {
  device->DestroyPipeline(device->handle, pipeline, NULL);
}

int32_t cvk_pipeline_statistics(cvk_device *device, VkPipeline pipeline, cvk_statistic *statistics,
                                uint32_t capacity, uint32_t *count) {
  if (!device->GetPipelineExecutableStatisticsKHR) return VK_ERROR_EXTENSION_NOT_PRESENT;
  VkPipelineExecutableInfoKHR info = {
      .sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_INFO_KHR,
      .pipeline = pipeline,
  };
  VkPipelineExecutableStatisticKHR all[64];
  memset(all, 0, sizeof all);
  for (size_t i = 0; i < 64; i++) {
    all[i].sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_STATISTIC_KHR;
  }
  *count = 64;
  int32_t result = device->GetPipelineExecutableStatisticsKHR(device->handle, &info, count, all);
  if (result < 0) return result;
  for (uint32_t i = 0; i < *count && i < capacity; i++) {
    memcpy(statistics[i].name, all[i].name, sizeof statistics[i].name);
    switch (all[i].format) {
      case VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_BOOL32_KHR:
        statistics[i].value = all[i].value.b32;
        break;
      case VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_INT64_KHR:
        statistics[i].value = (double)all[i].value.i64;
        break;
      case VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_UINT64_KHR:
        statistics[i].value = (double)all[i].value.u64;
        break;
      default:
        statistics[i].value = all[i].value.f64;
        break;
    }
  }
  return VK_SUCCESS;
}

int32_t cvk_pipeline_assembly(cvk_device *device, VkPipeline pipeline, char *text, size_t *count) {
  size_t capacity = *count;
  *count = 0;
  if (!device->GetPipelineExecutableInternalRepresentationsKHR) return VK_SUCCESS;
  VkPipelineExecutableInfoKHR info = {
      .sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_INFO_KHR,
      .pipeline = pipeline,
  };
  VkPipelineExecutableInternalRepresentationKHR all[16];
  memset(all, 0, sizeof all);
  for (size_t i = 0; i < 16; i++) {
    all[i].sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_INTERNAL_REPRESENTATION_KHR;
  }
  uint32_t found = 16;
  int32_t result =
      device->GetPipelineExecutableInternalRepresentationsKHR(device->handle, &info, &found, all);
  if (result < 0) return result;
  for (uint32_t i = 0; i < found; i++) {
    if (strcmp(all[i].name, "Assembly") != 0) continue;
    *count = all[i].dataSize;
    if (!text) return VK_SUCCESS;
    if (capacity < *count) return VK_INCOMPLETE;
    all[i].pData = text;
    return device->GetPipelineExecutableInternalRepresentationsKHR(device->handle, &info, &found, all);
  }
  return VK_SUCCESS;
}
