// Finding a shader by its name.

#include <string.h>

#include "include/VulkanKernels.h"

const vulkan_shader *vulkan_shader_named(const char *name) {
  for (const vulkan_shader *shader = vulkan_shaders; shader->name; shader++) {
    if (strcmp(shader->name, name) == 0) return shader;
  }
  return NULL;
}
