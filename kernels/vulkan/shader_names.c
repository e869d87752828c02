// Finding a shader by its name, and telling one version of the shaders from another.

#include <string.h>

#include "include/VulkanKernels.h"

const vulkan_shader *vulkan_shader_named(const char *name) {
  for (const vulkan_shader *shader = vulkan_shaders; shader->name; shader++) {
    if (strcmp(shader->name, name) == 0) return shader;
  }
  return NULL;
}

uint64_t vulkan_shaders_hash(void) {
  // FNV-1a (Fowler, Noll, Vo).
  uint64_t hash = 0xcbf29ce484222325;
  for (const vulkan_shader *shader = vulkan_shaders; shader->name; shader++) {
    const uint8_t *bytes = (const uint8_t *)shader->words;
    for (size_t i = 0; i < shader->byte_count; i++) hash = (hash ^ bytes[i]) * 0x100000001b3;
  }
  return hash;
}
