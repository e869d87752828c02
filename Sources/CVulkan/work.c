// What a device is given to do: descriptor sets, recorded commands, submits and waits.

#include <string.h>

#include "functions.h"

int32_t cvk_create_descriptor_pool(cvk_device *device, uint32_t set_count, uint32_t buffer_count,
                                   VkDescriptorPool *pool) {
  VkDescriptorPoolSize size = {
      .type = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,
      .descriptorCount = buffer_count,
  };
  VkDescriptorPoolCreateInfo info = {
      .sType = VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO,
      .maxSets = set_count,
      .poolSizeCount = 1,
      .pPoolSizes = &size,
  };
  return device->CreateDescriptorPool(device->handle, &info, NULL, pool);
}

void cvk_destroy_descriptor_pool(cvk_device *device, VkDescriptorPool pool) {
  device->DestroyDescriptorPool(device->handle, pool, NULL);
}

enum { MAX_RANGES = 16 };

int32_t cvk_create_set(cvk_device *device, VkDescriptorPool pool, VkDescriptorSetLayout layout,
                       const cvk_range *ranges, uint32_t range_count, VkDescriptorSet *set) {
  if (range_count > MAX_RANGES) return VK_ERROR_TOO_MANY_OBJECTS;
  VkDescriptorSetAllocateInfo info = {
      .sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO,
      .descriptorPool = pool,
      .descriptorSetCount = 1,
      .pSetLayouts = &layout,
  };
  int32_t result = device->AllocateDescriptorSets(device->handle, &info, set);
  if (result != VK_SUCCESS) return result;
  VkDescriptorBufferInfo buffers[MAX_RANGES];
  VkWriteDescriptorSet writes[MAX_RANGES];
  for (uint32_t i = 0; i < range_count; i++) {
    buffers[i] = (VkDescriptorBufferInfo){
        .buffer = ranges[i].buffer,
        .offset = ranges[i].offset,
        .range = ranges[i].bytes,
    };
    writes[i] = (VkWriteDescriptorSet){
        .sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET,
        .dstSet = *set,
        .dstBinding = i,
        .descriptorCount = 1,
        .descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,
        .pBufferInfo = &buffers[i],
    };
  }
  device->UpdateDescriptorSets(device->handle, range_count, writes, 0, NULL);
  return VK_SUCCESS;
}

int32_t cvk_create_command_pool(cvk_device *device, VkCommandPool *pool) {
  VkCommandPoolCreateInfo info = {
      .sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO,
      .queueFamilyIndex = device->family,
  };
  return device->CreateCommandPool(device->handle, &info, NULL, pool);
}

void cvk_destroy_command_pool(cvk_device *device, VkCommandPool pool) {
  device->DestroyCommandPool(device->handle, pool, NULL);
}

// Ends all that was recorded before in `source` stages before `target` stages begin, and makes what it
// has written visible to them.
static void barrier(cvk_device *device, VkCommandBuffer commands, VkPipelineStageFlags source,
                    VkAccessFlags written, VkPipelineStageFlags target, VkAccessFlags used) {
  VkMemoryBarrier memory = {
      .sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER,
      .srcAccessMask = written,
      .dstAccessMask = used,
  };
  device->CmdPipelineBarrier(commands, source, target, 0, 1, &memory, 0, NULL, 0, NULL);
}

static void record_dispatches(cvk_device *device, VkCommandBuffer commands,
                              const cvk_dispatch *dispatches, size_t count) {
  const VkAccessFlags shader = VK_ACCESS_SHADER_READ_BIT | VK_ACCESS_SHADER_WRITE_BIT;
  VkPipeline bound = VK_NULL_HANDLE;
  for (size_t i = 0; i < count; i++) {
    const cvk_dispatch *d = &dispatches[i];
    if (d->waits) {
      barrier(device, commands, VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT, VK_ACCESS_SHADER_WRITE_BIT,
              VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT, shader);
    }
    if (d->pipeline != bound) {
      device->CmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_COMPUTE, d->pipeline);
      bound = d->pipeline;
    }
    device->CmdBindDescriptorSets(commands, VK_PIPELINE_BIND_POINT_COMPUTE, d->layout, 0, 1, &d->set,
                                  0, NULL);
    device->CmdPushConstants(commands, d->layout, VK_SHADER_STAGE_COMPUTE_BIT, 0, 4 * d->push_words,
                             d->push);
    if (d->indirect) {
      device->CmdDispatchIndirect(commands, d->indirect, d->indirect_offset);
    } else {
      device->CmdDispatch(commands, d->groups[0], d->groups[1], d->groups[2]);
    }
  }
}

int32_t cvk_record(cvk_device *device, VkCommandPool pool, const cvk_dispatch *dispatches,
                   size_t dispatch_count, const cvk_copy *copies, size_t copy_count,
                   VkCommandBuffer *commands) {
  VkCommandBufferAllocateInfo allocation = {
      .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
      .commandPool = pool,
      .level = VK_COMMAND_BUFFER_LEVEL_PRIMARY,
      .commandBufferCount = 1,
  };
  int32_t result = device->AllocateCommandBuffers(device->handle, &allocation, commands);
  if (result != VK_SUCCESS) return result;
  VkCommandBufferBeginInfo begin = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO};
  result = device->BeginCommandBuffer(*commands, &begin);
  if (result != VK_SUCCESS) return result;
  const VkPipelineStageFlags compute = VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT;
  const VkPipelineStageFlags transfer = VK_PIPELINE_STAGE_TRANSFER_BIT;
  const VkAccessFlags written = VK_ACCESS_SHADER_WRITE_BIT | VK_ACCESS_TRANSFER_WRITE_BIT;
  const VkAccessFlags used = VK_ACCESS_SHADER_READ_BIT | VK_ACCESS_SHADER_WRITE_BIT |
                             VK_ACCESS_TRANSFER_READ_BIT | VK_ACCESS_TRANSFER_WRITE_BIT;
  // A submit does not wait for the one before; this barrier does.
  barrier(device, *commands, compute | transfer, written, compute | transfer, used);
  record_dispatches(device, *commands, dispatches, dispatch_count);
  if (copy_count > 0) {
    barrier(device, *commands, compute, VK_ACCESS_SHADER_WRITE_BIT, transfer,
            VK_ACCESS_TRANSFER_READ_BIT | VK_ACCESS_TRANSFER_WRITE_BIT);
  }
  for (size_t i = 0; i < copy_count; i++) {
    VkBufferCopy region = {
        .srcOffset = copies[i].source_offset,
        .dstOffset = copies[i].target_offset,
        .size = copies[i].bytes,
    };
    device->CmdCopyBuffer(*commands, copies[i].source, copies[i].target, 1, &region);
  }
  barrier(device, *commands, compute | transfer, written, VK_PIPELINE_STAGE_HOST_BIT,
          VK_ACCESS_HOST_READ_BIT | VK_ACCESS_HOST_WRITE_BIT);
  return device->EndCommandBuffer(*commands);
}

void cvk_free_commands(cvk_device *device, VkCommandPool pool, VkCommandBuffer commands) {
  device->FreeCommandBuffers(device->handle, pool, 1, &commands);
}

int32_t cvk_create_timeline(cvk_device *device, VkSemaphore *timeline) {
  VkSemaphoreTypeCreateInfo type = {
      .sType = VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO,
      .semaphoreType = VK_SEMAPHORE_TYPE_TIMELINE,
  };
  VkSemaphoreCreateInfo info = {
      .sType = VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO,
      .pNext = &type,
  };
  return device->CreateSemaphore(device->handle, &info, NULL, timeline);
}

void cvk_destroy_timeline(cvk_device *device, VkSemaphore timeline) {
  device->DestroySemaphore(device->handle, timeline, NULL);
}

int32_t cvk_submit(cvk_device *device, VkCommandBuffer commands, VkSemaphore timeline,
                   uint64_t value) {
  VkTimelineSemaphoreSubmitInfo values = {
      .sType = VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO,
      .signalSemaphoreValueCount = 1,
      .pSignalSemaphoreValues = &value,
  };
  VkSubmitInfo info = {
      .sType = VK_STRUCTURE_TYPE_SUBMIT_INFO,
      .pNext = &values,
      .commandBufferCount = 1,
      .pCommandBuffers = &commands,
      .signalSemaphoreCount = 1,
      .pSignalSemaphores = &timeline,
  };
  return device->hooks.queue_submit(device->queue, 1, &info, VK_NULL_HANDLE);
}

int32_t cvk_wait(cvk_device *device, VkSemaphore timeline, uint64_t value, uint64_t nanoseconds) {
  VkSemaphoreWaitInfo info = {
      .sType = VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO,
      .semaphoreCount = 1,
      .pSemaphores = &timeline,
      .pValues = &value,
  };
  return device->hooks.wait_semaphores(device->handle, &info, nanoseconds);
}

void cvk_wait_idle(cvk_device *device) { device->DeviceWaitIdle(device->handle); }
