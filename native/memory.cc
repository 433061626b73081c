#include "memory.h"

#include <string.h>

#include <atomic>
#include <new>

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
  float* atLeast(uint64_t wanted) {
    // Where a size has 32 bits, so many bytes could not be counted.
    if (wanted > (SIZE_MAX - 64) / 4) outOfMemory();
#if !defined(BANG_EXACT_SCRATCH)
    if (wanted <= floats) return data;
#endif
    release();
    data = static_cast<float*>(allocate(static_cast<size_t>(wanted) * 4));
    floats = static_cast<size_t>(wanted);
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
namespace {

#if defined(BANG_EXACT_SCRATCH)
// For the sanitizers: always a new block of exactly this size, filled with NaN.
constexpr size_t ALIGNMENT = 64;
#else
constexpr size_t ALIGNMENT = 4096;
#endif

}  // namespace

void* allocate(size_t bytes) {
  void* memory = ::operator new(bytes + 64, std::align_val_t{ALIGNMENT}, std::nothrow);
  if (!memory) outOfMemory();
#if defined(BANG_EXACT_SCRATCH)
  memset(memory, 0xff, bytes + 64);
#endif
  return memory;
}

void release(void* memory) { ::operator delete(memory, std::align_val_t{ALIGNMENT}); }
#endif

float* scratch(int slot, uint64_t floats) { return scratchBuffers.slots[slot].atLeast(floats); }
float* sharedScratch(int slot, uint64_t floats) { return sharedBuffers[slot].atLeast(floats); }
size_t scratchBytes() { return heldBytes.load(); }
void releaseScratch() { scratchBuffers.releaseAll(); }

}  // namespace bang
