#include "memory.h"

#include <stdlib.h>
#include <string.h>

#include <atomic>

namespace bang {
namespace {

std::atomic<size_t> heldBytes{0};

struct Buffer {
  float* data = nullptr;
  size_t floats = 0;
  void release() {
    if (data) heldBytes -= floats * 4;
    bang::release(data);
    data = nullptr;
    floats = 0;
  }
  float* atLeast(size_t wanted) {
#if !defined(BANG_EXACT_SCRATCH)
    if (wanted <= floats) return data;
#endif
    release();
    data = static_cast<float*>(allocate(wanted * 4));
    floats = wanted;
    heldBytes += floats * 4;
    return data;
  }
};

struct ThreadBuffers {
  Buffer slots[SCRATCH_SLOTS];
  ~ThreadBuffers() { releaseAll(); }
  void releaseAll() {
    for (Buffer& buffer : slots) buffer.release();
  }
};

thread_local ThreadBuffers scratchBuffers;
Buffer sharedBuffers[SHARED_SLOTS];

}  // namespace

#if !defined(__wasm__)
void* allocate(size_t bytes) {
  void* memory = nullptr;
#if defined(BANG_EXACT_SCRATCH)
  // For the sanitizers: always a new block of exactly this size, filled with NaN.
  if (posix_memalign(&memory, 64, bytes + 64) == 0) memset(memory, 0xff, bytes + 64);
#else
  memory = aligned_alloc(4096, (bytes + 64 + 4095) / 4096 * 4096);
#endif
  if (!memory) outOfMemory();
  return memory;
}

void release(void* memory) { free(memory); }
#endif

float* scratch(int slot, size_t floats) { return scratchBuffers.slots[slot].atLeast(floats); }
float* sharedScratch(int slot, size_t floats) { return sharedBuffers[slot].atLeast(floats); }
size_t scratchBytes() { return heldBytes.load(); }
void releaseScratch() { scratchBuffers.releaseAll(); }

}  // namespace bang
