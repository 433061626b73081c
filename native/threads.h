// The thread pool and the memory that threads work in.
#pragma once
#include <stddef.h>

namespace bang {

/// Sets how many threads compute, including the calling one (1 … 256). Not during parallelFor. Throws
/// std::system_error if the system refuses a thread; then the calling thread computes alone.
void setThreads(int count);
int threads();

/// Runs task(context, i) for every i in [0, count), on all threads, and returns when all are done.
/// Which thread runs which i is unspecified, so a task must write only what belongs to its i: then no
/// result depends on the number of threads. Not reentrant; called from one thread only. Throws what a
/// task throws, once no task is running.
void parallelFor(int count, void (*task)(void* context, int i), void* context);

/// Memory of the calling thread, aligned to 64 bytes, uninitialised, valid until its next call with
/// the same slot. It grows and is kept: a training step allocates nothing in the steady state.
/// Returns at least `floats` floats, followed by 64 bytes that may be read; throws std::bad_alloc if
/// there is not enough memory.
constexpr int SCRATCH_SLOTS = 4;
float* scratch(int slot, size_t floats);

/// Memory shared by the tasks of one parallelFor, under the same terms. Only for the thread that calls
/// parallelFor.
constexpr int SHARED_SLOTS = 5;
float* sharedScratch(int slot, size_t floats);

/// Bytes held by all scratch memory.
size_t scratchBytes();

}  // namespace bang
