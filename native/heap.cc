// The allocator of the WebAssembly module. All of its memory is there from the beginning, because a thread may not
// learn at once that another has let it grow; the libraries' allocators would grow it, and are for one thread.
#include <stdint.h>

#include <atomic>
#include <new>

#include "memory.h"

extern "C" char __heap_base;

namespace bang {
namespace {

constexpr size_t LINE = 64;

/// Comes before each block, and is as long as its alignment.
struct alignas(LINE) Block {
  size_t bytes;  // with this
  Block* next;   // the next free block, in the order of addresses
};

std::atomic_flag busy = ATOMIC_FLAG_INIT;
struct Lock {
  Lock() {
    while (busy.test_and_set(std::memory_order_acquire)) {
    }
  }
  ~Lock() { busy.clear(std::memory_order_release); }
};

char* endOf(Block* block) { return reinterpret_cast<char*>(block) + block->bytes; }

/// The first free block. Begins as all memory after the module's own data.
Block** freeBlocks() {
  static Block* first = nullptr;
  static bool begun = false;
  if (!begun) {
    begun = true;
    const uintptr_t begin = (reinterpret_cast<uintptr_t>(&__heap_base) + LINE - 1) / LINE * LINE;
    first = reinterpret_cast<Block*>(begin);
    *first = {__builtin_wasm_memory_size(0) * 65536 - begin, nullptr};
  }
  return &first;
}

Block* take(size_t bytes) {
  const Lock lock;
  for (Block** at = freeBlocks(); *at; at = &(*at)->next) {
    Block* block = *at;
    if (block->bytes < bytes) continue;
    if (block->bytes - bytes > 2 * LINE) {
      Block* rest = reinterpret_cast<Block*>(reinterpret_cast<char*>(block) + bytes);
      *rest = {block->bytes - bytes, block->next};
      block->bytes = bytes;
      *at = rest;
    } else {
      *at = block->next;
    }
    return block;
  }
  return nullptr;
}

}  // namespace

void* allocate(size_t bytes) {
  // Of 32 bits: a sum that wraps would be small.
  Block* block = bytes > 0xfffff000u ? nullptr : take((bytes + LINE - 1) / LINE * LINE + 2 * LINE);
  if (!block) outOfMemory();
  return block + 1;
}

void release(void* memory) {
  if (!memory) return;
  Block* block = static_cast<Block*>(memory) - 1;
  const Lock lock;
  Block *before = nullptr, **at = freeBlocks();
  for (; *at && *at < block; at = &(*at)->next) before = *at;
  block->next = *at;
  *at = block;
  if (block->next && endOf(block) == reinterpret_cast<char*>(block->next)) {
    block->bytes += block->next->bytes;
    block->next = block->next->next;
  }
  if (before && endOf(before) == reinterpret_cast<char*>(block)) {
    before->bytes += block->bytes;
    before->next = block->next;
  }
}

}  // namespace bang

void* operator new(size_t bytes) { return bang::allocate(bytes); }
void operator delete(void* memory) noexcept { bang::release(memory); }
void operator delete(void* memory, size_t) noexcept { bang::release(memory); }
