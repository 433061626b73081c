// The memory that kernels work in.
#pragma once
#include <stddef.h>
#include <stdint.h>

namespace bang {

/// Ends the call, or the task, with an error that says that memory is lacking. Defined where the calls come
/// from.
[[noreturn]] void outOfMemory();

/// Memory aligned to 64 bytes, uninitialised, followed by 64 bytes that may be read. Calls outOfMemory if there
/// is not enough.
void* allocate(size_t bytes);
void release(void* memory);

/// Memory of the calling thread, aligned to 64 bytes, uninitialised, valid until its next call with
/// the same slot. It is kept and grows as needed, so that in the steady state nothing is allocated.
/// Returns at least `floats` floats, followed by 64 bytes that may be read.
constexpr int SCRATCH_SLOTS = 4;
float* scratch(int slot, uint64_t floats);

/// Memory shared by the tasks of one parallelFor, with the same guarantees. May only be called by the thread
/// that calls parallelFor.
constexpr int SHARED_SLOTS = 5;
float* sharedScratch(int slot, uint64_t floats);

/// Bytes held by all scratch memory.
size_t scratchBytes();

/// Frees the scratch memory of the calling thread, before it ends.
void releaseScratch();

}  // namespace bang
