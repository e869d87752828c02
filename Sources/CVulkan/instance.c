// The loader, the instance, the validation layer, and what a physical device says of itself.

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "functions.h"

uint64_t cvk_validation_messages(cvk_instance *instance) {
  return atomic_load(&instance->message_count);
}

static VKAPI_ATTR VkBool32 VKAPI_CALL report(VkDebugUtilsMessageSeverityFlagBitsEXT severity,
                                             VkDebugUtilsMessageTypeFlagsEXT types,
                                             const VkDebugUtilsMessengerCallbackDataEXT *data,
                                             void *context) {
  (void)severity, (void)types;
  cvk_instance *instance = context;
  atomic_fetch_add(&instance->message_count, 1);
  fprintf(stderr, "vulkan validation: %s\n", data->pMessage);
  return VK_FALSE;
}

static cvk_opened failed(cvk_instance *instance, int32_t code, int32_t *result) {
  *result = code;
  dlclose(instance->library);
  free(instance);
  return code == VK_ERROR_INCOMPATIBLE_DRIVER ? CVK_NO_DRIVER : CVK_FAILED;
}

// Makes the instance; the structures of the validation layer are chained only if it is wanted.
static int32_t create(cvk_instance *instance, PFN_vkGetInstanceProcAddr get, bool validates) {
  PFN_vkCreateInstance create_instance = (PFN_vkCreateInstance)get(NULL, "vkCreateInstance");
  VkValidationFeatureEnableEXT enabled[] = {
      VK_VALIDATION_FEATURE_ENABLE_SYNCHRONIZATION_VALIDATION_EXT,
      VK_VALIDATION_FEATURE_ENABLE_GPU_ASSISTED_EXT,
      VK_VALIDATION_FEATURE_ENABLE_GPU_ASSISTED_RESERVE_BINDING_SLOT_EXT,
  };
  VkDebugUtilsMessengerCreateInfoEXT messenger = {
      .sType = VK_STRUCTURE_TYPE_DEBUG_UTILS_MESSENGER_CREATE_INFO_EXT,
      .messageSeverity = VK_DEBUG_UTILS_MESSAGE_SEVERITY_WARNING_BIT_EXT |
                         VK_DEBUG_UTILS_MESSAGE_SEVERITY_ERROR_BIT_EXT,
      .messageType = VK_DEBUG_UTILS_MESSAGE_TYPE_GENERAL_BIT_EXT |
                     VK_DEBUG_UTILS_MESSAGE_TYPE_VALIDATION_BIT_EXT |
                     VK_DEBUG_UTILS_MESSAGE_TYPE_PERFORMANCE_BIT_EXT,
      .pfnUserCallback = report,
      .pUserData = instance,
  };
  VkValidationFeaturesEXT features = {
      .sType = VK_STRUCTURE_TYPE_VALIDATION_FEATURES_EXT,
      .pNext = &messenger,
      .enabledValidationFeatureCount = 3,
      .pEnabledValidationFeatures = enabled,
  };
  VkApplicationInfo application = {
      .sType = VK_STRUCTURE_TYPE_APPLICATION_INFO,
      .pApplicationName = "trestle",
      .apiVersion = VK_API_VERSION_1_3,
  };
  const char *layers[] = {"VK_LAYER_KHRONOS_validation"};
  const char *extensions[] = {VK_EXT_DEBUG_UTILS_EXTENSION_NAME,
                              VK_EXT_VALIDATION_FEATURES_EXTENSION_NAME};
  VkInstanceCreateInfo info = {
      .sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO,
      .pNext = validates ? &features : NULL,
      .pApplicationInfo = &application,
      .enabledLayerCount = validates ? 1 : 0,
      .ppEnabledLayerNames = layers,
      .enabledExtensionCount = validates ? 2 : 0,
      .ppEnabledExtensionNames = extensions,
  };
  int32_t result = create_instance(&info, NULL, &instance->handle);
  if (result != VK_SUCCESS || !validates) return result;
  PFN_vkCreateDebugUtilsMessengerEXT create_messenger =
      (PFN_vkCreateDebugUtilsMessengerEXT)get(instance->handle, "vkCreateDebugUtilsMessengerEXT");
  instance->destroy_messenger =
      (PFN_vkDestroyDebugUtilsMessengerEXT)get(instance->handle, "vkDestroyDebugUtilsMessengerEXT");
  return create_messenger(instance->handle, &messenger, NULL, &instance->messenger);
}

cvk_opened cvk_open(bool validates, cvk_instance **opened, int32_t *result) {
  *result = VK_SUCCESS;
  void *library = dlopen("libvulkan.so.1", RTLD_NOW | RTLD_LOCAL);
  if (!library) return CVK_NO_LOADER;
  cvk_instance *instance = calloc(1, sizeof *instance);
  if (!instance) {
    dlclose(library);
    *result = VK_ERROR_OUT_OF_HOST_MEMORY;
    return CVK_FAILED;
  }
  instance->library = library;
  PFN_vkGetInstanceProcAddr get =
      (PFN_vkGetInstanceProcAddr)dlsym(library, "vkGetInstanceProcAddr");
  if (!get) return failed(instance, VK_ERROR_INITIALIZATION_FAILED, result);
  // A loader of Vulkan 1.0 does not have this function.
  PFN_vkEnumerateInstanceVersion enumerate =
      (PFN_vkEnumerateInstanceVersion)get(NULL, "vkEnumerateInstanceVersion");
  uint32_t version = 0;
  if (!enumerate || enumerate(&version) != VK_SUCCESS || version < VK_API_VERSION_1_2) {
    failed(instance, VK_SUCCESS, result);
    return CVK_TOO_OLD;
  }
  int32_t code = create(instance, get, validates);
  if (code != VK_SUCCESS) return failed(instance, code, result);
#define LOAD(name) instance->name = (PFN_vk##name)get(instance->handle, "vk" #name);
  INSTANCE_FUNCTIONS(LOAD)
#undef LOAD
  *opened = instance;
  return CVK_OPENED;
}

void cvk_close(cvk_instance *instance) {
  if (instance->messenger) {
    instance->destroy_messenger(instance->handle, instance->messenger, NULL);
  }
  instance->DestroyInstance(instance->handle, NULL);
  // The library stays open: drivers have threads and thread-local data that outlive an instance.
  free(instance);
}

const char *cvk_result_name(int32_t result) {
#define CASE(name) \
  case name:       \
    return #name;
  switch (result) {
    CASE(VK_SUCCESS)
    CASE(VK_NOT_READY)
    CASE(VK_TIMEOUT)
    CASE(VK_ERROR_OUT_OF_HOST_MEMORY)
    CASE(VK_ERROR_OUT_OF_DEVICE_MEMORY)
    CASE(VK_ERROR_INITIALIZATION_FAILED)
    CASE(VK_ERROR_DEVICE_LOST)
    CASE(VK_ERROR_MEMORY_MAP_FAILED)
    CASE(VK_ERROR_LAYER_NOT_PRESENT)
    CASE(VK_ERROR_EXTENSION_NOT_PRESENT)
    CASE(VK_ERROR_FEATURE_NOT_PRESENT)
    CASE(VK_ERROR_INCOMPATIBLE_DRIVER)
    CASE(VK_ERROR_TOO_MANY_OBJECTS)
    CASE(VK_ERROR_FRAGMENTED_POOL)
    CASE(VK_ERROR_OUT_OF_POOL_MEMORY)
    CASE(VK_ERROR_INVALID_SHADER_NV)
    default:
      return "an unknown VkResult";
  }
#undef CASE
}

int32_t cvk_device_count(cvk_instance *instance, uint32_t *count) {
  return instance->EnumeratePhysicalDevices(instance->handle, count, NULL);
}

int32_t cvk_physical(cvk_instance *instance, uint32_t index, VkPhysicalDevice *physical) {
  VkPhysicalDevice devices[64];
  uint32_t count = 64;
  int32_t result = instance->EnumeratePhysicalDevices(instance->handle, &count, devices);
  if (result < 0) return result;
  if (index >= count) return VK_ERROR_INITIALIZATION_FAILED;
  *physical = devices[index];
  return VK_SUCCESS;
}

uint32_t cvk_compute_family(const cvk_instance *instance, VkPhysicalDevice physical) {
  VkQueueFamilyProperties families[32];
  uint32_t count = 32;
  instance->GetPhysicalDeviceQueueFamilyProperties(physical, &count, families);
  for (uint32_t i = 0; i < count; i++) {
    if (families[i].queueFlags & VK_QUEUE_COMPUTE_BIT) return i;
  }
  return UINT32_MAX;
}

static bool has_extension(const cvk_instance *instance, VkPhysicalDevice physical, const char *name) {
  uint32_t count = 0;
  if (instance->EnumerateDeviceExtensionProperties(physical, NULL, &count, NULL) < 0) return false;
  VkExtensionProperties *all = calloc(count ? count : 1, sizeof *all);
  if (!all) return false;
  instance->EnumerateDeviceExtensionProperties(physical, NULL, &count, all);
  bool found = false;
  for (uint32_t i = 0; i < count; i++) found = found || strcmp(all[i].extensionName, name) == 0;
  free(all);
  return found;
}

static void describe_features(const cvk_instance *instance, VkPhysicalDevice physical,
                              cvk_description *out) {
  out->memory_budget = has_extension(instance, physical, VK_EXT_MEMORY_BUDGET_EXTENSION_NAME);
  VkPhysicalDevicePipelineExecutablePropertiesFeaturesKHR executable = {
      .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PIPELINE_EXECUTABLE_PROPERTIES_FEATURES_KHR,
  };
  VkPhysicalDeviceShaderIntegerDotProductFeatures dot = {
      .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_INTEGER_DOT_PRODUCT_FEATURES,
      .pNext = &executable,
  };
  VkPhysicalDeviceVulkan12Features core = {
      .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES,
      .pNext = &dot,
  };
  VkPhysicalDeviceFeatures2 features = {
      .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2,
      .pNext = &core,
  };
  instance->GetPhysicalDeviceFeatures2(physical, &features);
  out->timeline_semaphores = core.timelineSemaphore;
  out->integer_dot = dot.shaderIntegerDotProduct;
  out->executable_properties =
      executable.pipelineExecutableInfo &&
      has_extension(instance, physical, VK_KHR_PIPELINE_EXECUTABLE_PROPERTIES_EXTENSION_NAME);
}

static void describe_limits(const cvk_instance *instance, VkPhysicalDevice physical,
                            cvk_description *out) {
  VkPhysicalDeviceShaderIntegerDotProductProperties dot = {
      .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_INTEGER_DOT_PRODUCT_PROPERTIES,
  };
  VkPhysicalDeviceMaintenance3Properties maintenance = {
      .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MAINTENANCE_3_PROPERTIES,
      .pNext = &dot,
  };
  VkPhysicalDeviceDriverProperties driver = {
      .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_DRIVER_PROPERTIES,
      .pNext = &maintenance,
  };
  VkPhysicalDeviceSubgroupProperties subgroup = {
      .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_PROPERTIES,
      .pNext = &driver,
  };
  VkPhysicalDeviceProperties2 properties = {
      .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2,
      .pNext = &subgroup,
  };
  instance->GetPhysicalDeviceProperties2(physical, &properties);
  const VkPhysicalDeviceProperties *device = &properties.properties;
  const VkPhysicalDeviceLimits *limits = &device->limits;
  snprintf(out->name, sizeof out->name, "%s", device->deviceName);
  snprintf(out->driver, sizeof out->driver, "%s %s", driver.driverName, driver.driverInfo);
  out->api_version = device->apiVersion;
  out->vendor = device->vendorID;
  out->device = device->deviceID;
  out->driver_version = device->driverVersion;
  memcpy(out->pipeline_cache_uuid, device->pipelineCacheUUID, sizeof out->pipeline_cache_uuid);
  out->is_software = device->deviceType == VK_PHYSICAL_DEVICE_TYPE_CPU;
  out->is_integrated = device->deviceType == VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU;
  out->integer_dot_accelerated = dot.integerDotProduct4x8BitPackedMixedSignednessAccelerated &&
                                 dot.integerDotProduct4x8BitPackedSignedAccelerated;
  out->subgroup_arithmetic = (subgroup.supportedStages & VK_SHADER_STAGE_COMPUTE_BIT) &&
                             (subgroup.supportedOperations & VK_SUBGROUP_FEATURE_ARITHMETIC_BIT);
  out->subgroup_size = subgroup.subgroupSize;
  out->max_invocations = limits->maxComputeWorkGroupInvocations;
  out->max_group_size = limits->maxComputeWorkGroupSize[0];
  out->max_shared_bytes = limits->maxComputeSharedMemorySize;
  out->max_push_bytes = limits->maxPushConstantsSize;
  out->max_range_bytes = limits->maxStorageBufferRange;
  out->max_allocation_bytes = maintenance.maxMemoryAllocationSize;
  out->range_alignment = limits->minStorageBufferOffsetAlignment;
}

static void describe_memory(const cvk_instance *instance, VkPhysicalDevice physical,
                            cvk_description *out) {
  VkPhysicalDeviceMemoryBudgetPropertiesEXT budget = {
      .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_BUDGET_PROPERTIES_EXT,
  };
  VkPhysicalDeviceMemoryProperties2 properties = {
      .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2,
  };
  instance->GetPhysicalDeviceMemoryProperties2(physical, &properties);
  // RADV without hardware has no heaps, and crashes if it is asked what is left of them.
  if (out->memory_budget && properties.memoryProperties.memoryHeapCount > 0) {
    properties.pNext = &budget;
    instance->GetPhysicalDeviceMemoryProperties2(physical, &properties);
  }
  const VkPhysicalDeviceMemoryProperties *memory = &properties.memoryProperties;
  out->heap_count = memory->memoryHeapCount;
  out->type_count = memory->memoryTypeCount;
  for (uint32_t i = 0; i < out->heap_count; i++) {
    out->heap_bytes[i] = memory->memoryHeaps[i].size;
    out->heap_flags[i] = memory->memoryHeaps[i].flags;
    out->heap_budgets[i] = out->memory_budget ? budget.heapBudget[i] : memory->memoryHeaps[i].size;
  }
  for (uint32_t i = 0; i < out->type_count; i++) {
    out->type_flags[i] = memory->memoryTypes[i].propertyFlags;
    out->type_heaps[i] = memory->memoryTypes[i].heapIndex;
  }
}

int32_t cvk_describe(cvk_instance *instance, uint32_t index, cvk_description *out) {
  memset(out, 0, sizeof *out);
  VkPhysicalDevice physical = NULL;
  int32_t result = cvk_physical(instance, index, &physical);
  if (result != VK_SUCCESS) return result;
  out->has_compute = cvk_compute_family(instance, physical) != UINT32_MAX;
  describe_limits(instance, physical, out);
  // Features of 1.2 must not be asked of an older device.
  if (out->api_version >= VK_API_VERSION_1_2) describe_features(instance, physical, out);
  describe_memory(instance, physical, out);
  return VK_SUCCESS;
}
